# The dashboard of machines of EventSource::Cookbook in a real browser, on Starman with four workers: after a real gap the page
# shows what is, without what was forgotten meanwhile, and is not loaded again.

use lib 't/lib';
use Testing;
use Testing::Browser;
use Testing::CuttableProxy;
use Testing::Recipe;

my $machines = Testing::Recipe->start('machines');
my $proxy    = Testing::CuttableProxy->start($machines->port);
my $browser  = Testing::Browser->start;

sub set {
    my ($machine, $figure, $value) = @_;
    return $machines->post('/set', machine => $machine, figure => $figure, defined $value ? (value => $value) : ());
}

my $shown = q([...rows.rows].map(row => [...row.cells].map(cell => cell.textContent).join(' ')).join(', '));
my $shows = sub { my ($text, $name) = @_; return $browser->wait_for("$shown === '$text'", $name) };

set(web1 => load => 0.5);
$browser->open($proxy->url('/'));
$shows->('web1 load 0.5', 'a page begins with the state');
is set(web1 => users => 7),   204, 'a figure is set';
is set(db1  => load  => 1.5), 204, 'so is one of a machine that is new';
$shows->('db1 load 1.5, web1 load 0.5, web1 users 7', 'the page shows both');
is set(db1 => load => '<b>'), 400, 'what is no figure is refused';

$browser->evaluate(
    q(window.gaps = []; import('/hub.js').then(({ connect }) =>
        connect('/events').addEventListener('gap', event => gaps.push(event.data))))
);
subtest 'the page is away, and misses less than the history has' => sub {
    $proxy->hold;
    set(web1 => users => 8);
    $proxy->release;
    $shows->('db1 load 1.5, web1 load 0.5, web1 users 8', 'it shows what it has missed');
    is_deeply $browser->evaluate('gaps'), [], 'without a gap';
};

subtest 'the page is away, and misses more' => sub {
    $proxy->hold;
    set(db1  => 'load');
    set(web2 => load  => 2);
    set(web1 => users => $_) for 1 .. 30;
    $proxy->release;
    $shows->('web1 load 0.5, web1 users 30, web2 load 2', 'it shows what is, and nothing that was forgotten');
    is_deeply $browser->evaluate('gaps'), ['{"reason":"evicted"}'], 'after a gap';
    ok $browser->evaluate('Array.isArray(window.gaps)'), 'it was not loaded again';
};

$browser->open('about:blank');
done_testing;
