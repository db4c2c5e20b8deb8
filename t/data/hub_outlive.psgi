# A hub in a process of its own, for workers that end in all ways.
#
#   /hub           a stream of the channel news; with ?label=user/7 it has that label, with ?member=ann that member of people
#   /will          a stream whose handler subscribes with a will
#   /held          a stream whose handler pushes, subscribes and holds the connection
#   /filtered      as /hub, behind a filter of the body: on the server's writer
#   /served        behind such a filter: a handler that pushes, serves, pushes and holds the connection
#   /dies          behind such a filter: a handler that serves and dies
#   /spawn         a stream whose handler pushes what spawn returns or throws
#   /pushed?COUNT  behind such a filter: a handler that pushes so often, and subscribes
#   /late?COUNT    the same behind a filter that is one write late
#   /impatient     as /filtered, with a timeout of a second; /patient: of two
#   /unread?COUNT  as /pushed, with a timeout of a second
#   /push?PID,DATA the worker with that id pushes to the streams of /served that it holds
#   /close?PID     it closes them
#   /reasons?PID   the reasons for which they and those of /unread have ended
#   /plain         an ordinary response
#   /publish?DATA  publishes the data; the response is the id
#   /die?PID,HOW   the worker with that id pushes to the streams that it holds, and ends: HOW is exit, SEGV or KILL
#
# Each response has the id of its process as X-Worker.

use Testing::Application qw(answer with_worker);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Util ();

# What a worker pushes before it exits: more than the connection to the hub's process takes at once.
my $PUSHES = 150;
my $WORDS  = 'x' x 20_000;

my $hub = EventSource::Hub->new(
    name         => 'test',
    socket       => $ENV{HUB_SOCKET},
    autostart    => $ENV{HUB_AUTOSTART},
    keep_history => {events => 100_000, bytes => 1 << 26},
    defined $ENV{HUB_RELAYS}  ? (max_relays => $ENV{HUB_RELAYS})                              : (),
    defined $ENV{HUB_SECONDS} ? (idle_exit  => $ENV{HUB_SECONDS}, grace => $ENV{HUB_SECONDS}) : (),
);
my @held;
my (@served, @reasons);

sub hold {
    my $conn = shift;
    $conn->push('first');
    $hub->subscribe($conn, 'news');
    $conn->push({event => 'own', data => 'second'});
    push @held, $conn;
    return;
}

sub push_and_subscribe {
    my ($conn, $env) = @_;
    $conn->push("$_ $WORDS") for 1 .. $env->{QUERY_STRING};
    $hub->subscribe($conn, 'news');
    $conn->on_close(sub { push @reasons, $_[1] });
    return;
}

sub serve {
    my $conn = shift;
    $conn->push('before');
    $conn->on_close(sub { push @reasons, $_[1] });
    $hub->serve($conn, 'news');
    $conn->push({event => 'own', data => $conn->is_open ? 'open' : 'ended'});
    push @served, $conn;
    return;
}

sub spawn {
    my $conn  = shift;
    my $child = eval {
        $conn->spawn(sub { });
    };
    $conn->push(defined $child ? "child $child" : "$@");
    return;
}

# Does something with the streams of /served, in the worker that holds them.
sub of_worker {
    my $code = shift;
    return sub {
        my $env = shift;
        my ($pid, $data) = split /,/, $env->{QUERY_STRING};
        return answer($pid == $$ ? $code->($data) : 'another');
    };
}

sub label { return $_[0]{QUERY_STRING} =~ /\Alabel=(.+)/ ? $1 : () }

sub member {
    return $_[0]{QUERY_STRING} =~ /\Amember=(.+)/ ? {id => $1, channel => 'people', leave_after => 0.5} : undef;
}

sub die_so {
    my $env = shift;
    my ($pid, $how) = split /,/, $env->{QUERY_STRING};
    return answer('another') if $pid != $$;
    for my $conn (@held) { $conn->push({event => 'own', data => "$_ $WORDS"}) for 1 .. $PUSHES }
    exit if $how eq 'exit';

    # The answer comes after the pushes: the hub's process has them.
    $hub->subscribers('news');
    kill $how => $$;
    return answer('lives');
}

# The filter counts what it has passed on, and says so at the end of the body.
sub filter {
    my $app = shift;
    return sub {
        my $env = shift;
        return Plack::Util::response_cb $app->($env), sub {
            my ($count, $has_ended) = (0, 0);
            return sub {
                my $bytes = shift;
                return $has_ended++ ? undef : ": $count bytes\n" if !defined $bytes;
                $count += length $bytes;
                return $bytes;
            };
        };
    };
}

# The filter holds each write back until the next one. An empty write would lose what it holds, or come out as one.
sub delay {
    my $app = shift;
    return sub {
        my $env = shift;
        return Plack::Util::response_cb $app->($env), sub {
            my $last = ":\n";
            return sub {
                (my $bytes, $last) = ($last, shift);
                return $bytes;
            };
        };
    };
}

builder {
    enable \&with_worker;
    my %reader = (channels => sub { return 'news' }, label => \&label, member => \&member);
    mount '/hub'      => $hub->to_app(%reader);
    mount '/filtered' => filter($hub->to_app(%reader));
    mount '/will' => Plack::App::EventSource->new(
        handler_cb => sub { $hub->subscribe($_[0], 'news', {will => ['people', 'the will']}) })->to_app;
    mount '/held'   => Plack::App::EventSource->new(handler_cb => \&hold, max_buffered => 4 << 20)->to_app;
    mount '/served' => filter(Plack::App::EventSource->new(handler_cb => \&serve)->to_app);
    my %pushed = (handler_cb => \&push_and_subscribe, keepalive => 0);
    my $pushed = Plack::App::EventSource->new(%pushed)->to_app;
    mount '/pushed' => filter($pushed);
    mount '/unread' => filter(Plack::App::EventSource->new(%pushed, timeout => 1)->to_app);
    mount '/late'   => delay($pushed);
    mount '/dies' => filter(
        Plack::App::EventSource->new(handler_cb => sub { $hub->serve($_[0], 'news'); die "on purpose\n" })->to_app);
    mount '/impatient' => filter($hub->to_app(channels => sub { return 'news' }, timeout => 1));
    mount '/patient'   => filter($hub->to_app(channels => sub { return 'news' }, timeout => 2));
    mount '/spawn'     => Plack::App::EventSource->new(handler_cb => \&spawn)->to_app;
    mount '/push'      => of_worker sub {
        my $data = shift;
        return scalar grep { $_->push($data) } @served;
    };
    mount '/close'   => of_worker(sub { $_->close for @served;     return 'closed' });
    mount '/reasons' => of_worker(sub { EventSource::XS->dispatch; return "@reasons" });
    mount '/publish' => sub { my $env = shift; return answer($hub->publish(news => $env->{QUERY_STRING})) };
    mount '/plain'   => sub { return answer('plain') };
    mount '/die'     => \&die_so;
};
