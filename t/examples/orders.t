# The order form of EventSource::Cookbook in a real browser, on Starman with four workers, with PostgreSQL or MariaDB: a page
# shows what was committed and nothing else, whichever process is killed.

use lib 't/lib';
use Testing;
use Testing::Browser;
use Testing::Database;
use Testing::OrderForm;
use Testing::Recipe;

my ($class) = grep { $_->can('kill') && !defined $_->missing } Testing::Database->classes;
plan skip_all => 'there is no server of a database here' if !$class;

my $database = $class->start;
my $form     = Testing::OrderForm->new($database);
my $recipe   = Testing::Recipe->start('orders', $form->environment);
my $follower = $form->follow($recipe->socket);
my $browser  = Testing::Browser->start;
my $shows    = sub {
    my ($id, $text, $name) = @_;
    return $browser->wait_for("document.getElementById('$id').textContent === '$text'", $name);
};

# Fills the form in, as a visitor does.
sub order {
    my %value = @_;
    $browser->evaluate("document.querySelector('[name=$_]').value = '$value{$_}'") for sort keys %value;
    return $browser->evaluate("document.querySelector('form').requestSubmit()");
}

$browser->open($recipe->url('/'));
is $recipe->post('/restock', item => 'bolt', pieces => 10), 204, 'there are bolts';
$shows->('stock', 'bolt: 10', 'the page shows the stock');
order(item => 'bolt', pieces => 3, card => 4711);
$shows->('answer', 'ordered', 'an order is accepted');
$shows->('stock',  'bolt: 7', 'the page shows what is left');
$browser->wait_for(q{/^[0-9]+-[0-9]{6}: 3 bolt$/.test(document.getElementById('orders').textContent)}, 'and the order');

order(card => 4710);
$shows->('answer', 'the card is refused', 'an order fails after its events were written');
order(pieces => 1, card => 4711);
$shows->('stock', 'bolt: 6', 'the page shows the next order');
is $browser->evaluate(q{document.getElementById('orders').textContent.split('\n').length}), 2,
    'and none that was refused';

subtest 'the follower is killed' => sub {
    ok kill(KILL => $follower->pid), 'it is gone';
    order(pieces => 2, card => 4711);
    $shows->('answer', 'ordered', 'an order is accepted');
    $follower = $form->follow($recipe->socket);
    $shows->('stock', 'bolt: 4', 'another one publishes what was committed');
};

subtest 'the database is killed' => sub {
    $database->kill;
    order(pieces => 1, card => 4711);
    $browser->wait_for(q{/Error/.test(answer.textContent)}, 'an order fails');
    $database->restart;
    ok wait_until($DEADLINE, sub { $recipe->post('/order', item => 'bolt', pieces => 1, card => 4711) == 204 }),
        'the next one is accepted';
    $shows->('stock', 'bolt: 3', 'and the page shows it');
};

$browser->open('about:blank');
done_testing;
