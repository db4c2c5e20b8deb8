# The application behind t/attack (t/lib/Testing/AttackedServer.pm): one stream of each kind, and a path that reports the
# state of the worker that answers. Handlers report to a journal. A request with meet=NAME-COUNT in its query waits until so
# many workers handle such a request; one with meet_in_handler does so in the stream's handler.

use Testing::Application qw(answer parameter tag);
use EventSource::Hub;
use EventSource::XS;
use JSON::PP ();
use Testing::Journal;
use Plack::App::EventSource;
use Plack::Builder;
use Time::HiRes qw(sleep time);

my $PATIENCE = 30;      # seconds until a handler gives up
my $MEET     = 5;       # seconds until a request no longer waits for others
my $PAUSE    = 0.01;    # seconds

my $journal = Testing::Journal->open("$ENV{ATTACK_FOLDER}/journal");
my $hub     = EventSource::Hub->new(per_process => 1, keep_history => {events => 10});
my %held;

# Waits until as many workers as requested handle such a request. Returns false if they do not in time.
sub meet {
    my ($env, $parameter) = @_;
    my ($name, $count) = split /-/, parameter($env, $parameter || 'meet') // return 1;
    my $deadline = time + $MEET;
    open my $file, '>', "$ENV{ATTACK_FOLDER}/$name.$$" or die "$name.$$: $!\n";
    while ((my @come = glob "$ENV{ATTACK_FOLDER}/$name.*") < $count) {
        return 0 if time > $deadline;
        sleep $PAUSE;
    }
    return 1;
}

sub report {
    my ($env, $what) = @_;
    $journal->write(tag($env), $what);
    return;
}

# Holds a native stream; pushes to another one until its client has left.
sub hold {
    my ($conn, $env) = @_;
    report($env, 'handled, native: ' . ($conn->is_native ? 1 : 0));
    my $name = "$conn";
    $held{$name} = $conn;
    $conn->on_close(sub { delete $held{$name}; report($env, "closed: $_[1]") });
    $conn->push('held');
    meet($env, 'meet_in_handler');
    return $conn->close if parameter($env, 'closes');
    return              if $conn->is_native || $env->{'psgi.nonblocking'};
    my $deadline = time + $PATIENCE;
    sleep $PAUSE while time < $deadline && $conn->push('tick');
    delete $held{$name};
    return;
}

sub subscribe {
    my ($conn, $env) = @_;
    report($env, 'handled, native: ' . ($conn->is_native ? 1 : 0));
    $hub->serve($conn, 'a');
    return;
}

sub hub_app {
    return $hub->to_app(channels => sub { 'a' }, keepalive => 0.3, @_);
}

sub source {
    my ($handler, %option) = @_;
    return Plack::App::EventSource->new(handler_cb => $handler, keepalive => 0.3, %option)->to_app;
}

sub state_of_worker {
    my $env   = shift;
    my %state = (
        pid         => $$,
        met         => meet($env),
        descriptors => scalar(() = glob '/proc/self/fd/*'),
        open        => EventSource::XS->stats->{open},
    );
    return answer(JSON::PP::encode_json(\%state));
}

my $tagged = source(\&hold, headers => [ETag => '"stream"']);

builder {
    enable sub {
        my $app = shift;
        return sub {
            my $env = shift;
            EventSource::XS->dispatch;
            meet($env) if $env->{PATH_INFO} ne '/state';
            return $app->($env);
        };
    };
    mount '/state'            => \&state_of_worker;
    mount '/plain'            => sub { answer('plain') };
    mount '/native'           => source(\&hold);
    mount '/must-be-native'   => source(\&hold, native => 1);
    mount '/writer'           => source(\&hold, native => 0);
    mount '/hub'              => hub_app();
    mount '/hub-on-writer'    => hub_app(native => 0);
    mount '/follow'           => source(\&subscribe);
    mount '/follow-on-writer' => source(\&subscribe, native => 0);
    mount '/conditional'      => builder { enable 'ConditionalGET'; $tagged };
    mount '/post'             => source(\&hold, native => 1, methods => ['POST']);
    mount '/hub-post'         => hub_app(native => 1, methods => ['POST']);
    mount '/behind-a-proxy'   => builder { enable 'ReverseProxy'; source(\&hold, native => 1) };
};
