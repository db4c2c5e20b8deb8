# The room of EventSource::Cookbook in real browsers, on Starman with four workers: who is here, who types, who is away, and
# what becomes of them when a page is loaded again or closed, a worker is killed, or the hub process ends.

use lib 't/lib';
use Testing;
use Testing::Browser;
use Testing::CuttableProxy;
use Testing::Recipe;

my $room  = Testing::Recipe->start('room', ROOM_SECRET => 'hush');
my $proxy = Testing::CuttableProxy->start($room->port);
my ($ann, $bob) = map { Testing::Browser->start } 1, 2;
my $here = q([...here.children].map(person => person.textContent).sort().join(', '));

# Each of the pages shows these people.
sub show {
    my ($people, $name, @pages) = @_;
    $_->wait_for("$here === '$people'", $name) for @pages ? @pages : ($ann, $bob);
    return;
}

sub enter {
    my ($page, $name) = @_;
    $page->open($proxy->url('/'));
    $page->wait_for('!entrance.hidden', 'a visitor is asked for a name');
    $page->evaluate("entrance.elements.name.value = '$name', entrance.requestSubmit()");
    $page->wait_for('!room.hidden', "$name enters");
    return;
}

sub type {
    my ($page, $text) = @_;
    $page->evaluate("room.elements.text.value = '$text', room.elements.text.dispatchEvent(new Event('input'))");
    return;
}

enter($ann, 'Ann');
show('Ann', 'the first one is alone', $ann);
enter($bob, 'Bob');
show('Ann, Bob', 'a page shows who is here');

# From now on the page of Bob notes what it is told.
$bob->evaluate(
    q((async () => {
    const source = (await import('/hub.js')).connect('/events', {start: -50});
    window.told = []; window.isOld = true;
    for (const type of ['join', 'leave', 'gap']) source.addEventListener(type, () => told.push(type));
    source.addEventListener('update', event => told.push(JSON.parse(event.data).does || 'nothing'));
    await source.ready;
    told = [] })())
);

subtest 'typing' => sub {
    type($ann, 'hello');
    show('Ann (typing), Bob', 'Ann types');
    $ann->evaluate('room.requestSubmit()');
    show('Ann, Bob', 'Ann has said it');
    $_->wait_for('said.textContent === "Ann: hello\n"', 'a page shows what was said') for $ann, $bob;
    type($ann, 'well');
    show('Ann (typing), Bob', 'Ann types again');
    show('Ann, Bob',          'and thinks about it');
};

subtest 'away' => sub {
    my $hide = sub {
        my $is_hidden = shift;
        $ann->evaluate("Object.defineProperty(document, 'hidden', {value: $is_hidden, configurable: true});"
                . q(document.dispatchEvent(new Event('visibilitychange'))));
    };
    $hide->('true');
    show('Ann (away), Bob', 'the page of Ann is hidden');
    $bob->evaluate('told = []');
    $proxy->cut;
    $bob->wait_for("told.join() === 'nothing,away'",
        'a stream that was cut comes back, and its page says again what it does');
    show('Ann (away), Bob', 'Ann is away still');
    $hide->('false');
    show('Ann, Bob', 'Ann looks at it again');
};

subtest 'nobody leaves' => sub {
    $bob->evaluate('told = []');
    $room->kill_worker_ok;
    type($ann, 'still here');
    show('Ann (typing), Bob', 'a change reaches the others');
    $ann->open($proxy->url('/'));
    show('Ann, Bob', 'Ann has loaded the page again');
    is_deeply $bob->evaluate('told'), [qw(typing nothing)], 'the others know of nobody who has joined or left';
};

subtest 'the hub process ends' => sub {
    $bob->evaluate('told = []');
    $room->kill_hub_ok;
    $bob->wait_for("told.join() === 'gap,join,join'", 'the page receives a gap, and everybody joins again');
    show('Ann, Bob', 'it shows them');
    ok $bob->evaluate('window.isOld'), 'no page was loaded again';
};

subtest 'Ann leaves' => sub {
    $ann->open('about:blank');
    show('Bob', 'the others know', $bob);
    is $room->hub->members_count('room/people'), 1, 'the hub, too';
};

subtest 'without a name' => sub {
    is $room->post('/does',  does => 'typing'), 403, 'nobody has no state';
    is $room->post('/say',   text => 'hello'),  403, 'and says nothing';
    is $room->post('/enter', name => '<b>'),    400, 'what is no name is refused';
    my $forged =
        Test::EventSource->new(url => $room->url(''))->get('/events', headers => [Cookie => 'visitor=1.Bob.2']);
    is $forged->status, 403, 'a visitor that was not signed here does not enter';
};

$bob->open('about:blank');
done_testing;
