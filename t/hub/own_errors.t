# Calls that may fail with an EventSource::Error, and do without the hub then. Any other exception, such as that of a handler of
# a signal, is thrown again.

use lib 't/lib';
use Testing qw(native);
use EventSource::Error;
use EventSource::Hub;
use EventSource::Hub::Lease;
use EventSource::Hub::Process;
use EventSource::Outbox;
use EventSource::XS::Hub::Admin;
use EventSource::XS::Hub::Admin::Look;
use EventSource::XS::Hub::Limit;
use EventSource::XS::Hub::Readiness;
use EventSource::XS::Hub::Ticket;

# The code that is called in the place of a method.
my $in_its_place;

sub away {
    return EventSource::Error->throw(code => 'unavailable', message => 'EventSource::Hub: away');
}

my $hub     = EventSource::Hub->new(name => 'own_errors', autostart => 0);
my $process = bless {}, 'EventSource::Hub::Process';
my $limit   = EventSource::XS::Hub::Limit->of([sub { 1 }, 2]);
my $lease   = bless {hub => $hub, name => 'task'}, 'EventSource::Hub::Lease';
my $outbox  = EventSource::Outbox->new(hub => $hub);
my $ticket  = EventSource::XS::Hub::Ticket->of(60);

my %env = (
    REQUEST_METHOD => 'GET',
    SCRIPT_NAME    => '',
    PATH_INFO      => '/events',
    HTTP_HOST      => 'localhost',
    QUERY_STRING   => ''
);

# The request has a cookie that could be the ticket.
sub opens_ticket {
    my ($cookie) = EventSource::XS::Request->_call('cookie', 'own_errors', '/events');
    return $ticket->opened($hub, {%env, HTTP_COOKIE => "$cookie=YQ"}, []);
}

sub seals_ticket { return scalar(() = $ticket->header($hub, {%env, 'eventsource.hub.binding' => 'x'}, [], [])) }

# The method, what calls it, and its result where the hub is away.
my @CASES = (
    ['EventSource::Hub::_call',            sub { $limit->may_begin($hub, 'label') }, 1],
    ['EventSource::Hub::_elect',           sub { ref $lease->_elect },               'EventSource::Error'],
    ['EventSource::Hub::publish',          sub { $outbox->committed },               undef],
    ['EventSource::Hub::_call',            \&opens_ticket,                           undef],
    ['EventSource::Hub::seal_ticket',      \&seals_ticket,                           0],
    ['EventSource::Hub::Process::log',     sub { $process->_last_of->{last} },       undef],
    ['EventSource::Hub::Process::stats',   sub { $process->_problem_of_store },      undef],
    ['EventSource::Hub::Process::log',     sub { scalar(() = EventSource::XS::Hub::Admin::Look::_lines($process)) }, 0],
    ['EventSource::Hub::Process::program', sub { EventSource::XS::Hub::Readiness::_without_program() }, 'away'],
);

for (@CASES) {
    my ($method, $call, $expected) = @$_;
    my $replaced = do { no strict 'refs'; \*{$method} };    ## no critic (ProhibitNoStrict)
    no warnings 'redefine';
    local *EventSource::Hub::Process::connect = sub { $process };
    local *$replaced                          = sub { $in_its_place->() };
    $in_its_place = \&away;
    is scalar $call->(), $expected, "$method: an error of the hub is known";
    $in_its_place = sub { die "not ours\n" };
    ok !eval { $call->(); 1 }, "$method: another exception is thrown again";
    is $@, "not ours\n", 'as it is';
}

done_testing;
