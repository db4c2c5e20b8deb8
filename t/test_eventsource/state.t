# state_is: what the client of a stream knows that keeps the state.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Test::EventSource   qw(state_is);
use Testing::Errors     qw(error_ok);
use Testing::SourceTree qw(slurp);

my @STATE = (timeout => 5, state => {key => 'item'});

sub set {
    my ($hub, $item, $left) = @_;
    return $hub->publish(stock => {key => $item, json => {item => $item, left => $left}, retain => 1});
}

sub left { return {json => {item => $_[0], left => $_[1]}} }

sub tested {
    my %setting = @_;
    my $hub     = EventSource::Hub->new(start => 'state', history => {events => 2}, %setting);
    return ($hub, Test::EventSource->new(app => $hub->to_app(channels => sub { 'stock' })));
}

subtest 'a page from its first event to a gap' => sub {
    my ($hub, $es) = tested();
    my $empty = $es->get('/', @STATE);
    $empty->state_is({}, 'an empty state');
    set($hub, $_, 1) for qw(a b c a);
    my $page = $es->get('/', @STATE);
    $page->state_is({a => left(a => 1), b => left(b => 1), c => qr/"left":1/}, 'three keys');
    set($hub, d => 1);
    $hub->publish(stock => 'an event without a key');
    $hub->forget(stock => 'b');
    $page->like_event({json => {item => 'd', left => 1}}, 'an event that is taken otherwise');
    $page->state_is({map { $_ => left($_ => 1) } qw(a c d)}, 'counts, and a forgotten key is gone');
    $page->close;
    set($hub, d => 2);
    $page->reconnect;
    $page->state_is({a => left(a => 1), c => left(c => 1), d => left(d => 2)},
        'a page that comes back keeps its state');
    $page->close;
    $hub->forget(stock => $_) for qw(a c);
    set($hub, d => $_) for 3 .. 5;
    $page->reconnect;
    state_is($page, {d => left(d => 5)}, 'after a gap it has the state of then');
};

subtest 'other types, and a key that code finds' => sub {
    my ($hub, $es) = tested(gap_event => 'lost', position_event => 'here');
    my $page = $es->get(
        '/',
        position_event => 'here',
        state => {key => sub { $_[0]{data} =~ /\A(\w+)=/ ? $1 : undef }, forget_event => 'gone', gap_event => 'lost'}
    );
    $hub->publish(stock => {key => 'x', data => 'x=1', retain => 1});
    $hub->publish(stock => {key => 'y', data => 'y=1', retain => 1});
    $page->state_is({x => 'x=1', y => 'y=1'}, 'both keys');
    $hub->forget(stock => 'x', {event => 'gone'});
    $page->state_is({y => {event => 'message', data => 'y=1'}}, 'one is gone');
};

subtest 'the example of the manual' => sub {
    my ($example) = slurp('perl/Test/EventSource.pm') =~ /^=head1 STATE$(.*?)^=head1/ms;
    my $code      = join "\n", map { s/^ {4}//r } grep { /^(?: {4}|\s*$)/ } split /\n/, $example;
    eval "use strict; use warnings; $code; 1" or fail "it runs: $@";    ## no critic (ProhibitStringyEval)
};

subtest 'mistakes' => sub {
    my ($hub, $es) = tested();
    error_ok('a state that is not a hash', invalid => 'state', sub { $es->get('/', state => 'item') });
    error_ok('no key',                     invalid => 'key',   sub { $es->get('/', state => {}) });
    error_ok('an unknown option',          invalid => 'keys',  sub { $es->get('/', state => {keys => 'item'}) });
    error_ok('a stream without state',     state   => undef,   sub { $es->get('/')->state_is({}) });
    error_ok('a list',        invalid => 'state', sub { $es->get('/', @STATE)->state_is([]) });
    error_ok('a wrong field', invalid => 'dta',   sub { $es->get('/', @STATE)->state_is({a => {dta => 1}}) });
};

done_testing;
