package Orders;
use strict;
use warnings;

# The tables of an order form, as DBIx::Class has them. ORDERS_DSN, ORDERS_USER and ORDERS_PASSWORD name the database.

package Orders::Stock {
    use parent 'DBIx::Class::Core';
    __PACKAGE__->table('stock');
    __PACKAGE__->add_columns(qw(item pieces));
    __PACKAGE__->set_primary_key('item');
}

package Orders::Order {
    use parent 'DBIx::Class::Core';
    __PACKAGE__->table('orders');
    __PACKAGE__->add_columns(qw(number item pieces));
    __PACKAGE__->set_primary_key('number');
}

use parent 'DBIx::Class::Schema';
__PACKAGE__->register_class(Stock => 'Orders::Stock');
__PACKAGE__->register_class(Order => 'Orders::Order');

sub of_environment {
    my $class = shift;
    return $class->connect($ENV{ORDERS_DSN} || 'dbi:SQLite:dbname=orders.db', @ENV{qw(ORDERS_USER ORDERS_PASSWORD)});
}

1;
