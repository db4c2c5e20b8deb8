package Testing::OrderForm;
use Testing;

# The order form of EventSource::Cookbook: its database, and the follower of its outbox.
#
#   my $form     = Testing::OrderForm->new($database);                     # a Testing::Database
#   my $server   = Testing::Server->start(..., env => {$form->environment, ORDERS_SOCKET => $socket});
#   my $follower = $form->follow($socket);                                 # a Testing::Program

use EventSource::Outbox;
use Testing::Developer qw(needs_module);
use Testing::Outbox;
use Testing::Program;
use Testing::SourceTree qw(slurp);

# Skips the test, or the subtest, if something is missing here.
sub new {
    my ($class, $database) = @_;
    needs_module('DBIx::Class');
    my $dbh = $database->connect;
    $dbh->do($_) for grep { /\S/ } split /;\n/, slurp('examples/cookbook/orders.sql');
    Testing::Outbox->create_tables($dbh, 'EventSource::Outbox');
    return bless {database => $database}, $class;
}

sub database { return $_[0]{database} }

sub environment {
    my $self = shift;
    my %env;
    @env{qw(ORDERS_DSN ORDERS_USER ORDERS_PASSWORD)} = $self->database->connect_info;
    return map { ($_ => $env{$_} // '') } keys %env;
}

sub follow {
    my ($self, $socket) = @_;
    my ($dsn, $user, $password) = $self->database->connect_info;
    my @hub  = ('--hub', 'orders', '--socket', $socket);
    my @user = defined $user ? ('--user', $user) : ();
    return Testing::Program->start(
        ['-Mblib', 'bin/eventsource', 'outbox', @hub, '--dsn', $dsn, @user],
        defined $password ? (EVENTSOURCE_OUTBOX_PASSWORD => $password) : ()
    );
}

1;
