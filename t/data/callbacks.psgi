# The application of t/native/callbacks_in_time.t, t/native/spawn.t and t/attack/spawn.t: streams whose callbacks report to a
# journal, ordinary requests, and handlers that run in children.

use Testing::Application qw(answer parameter report tag);
use EventSource::Hub;
use EventSource::XS;
use POSIX ();
use Plack::App::EventSource;
use Plack::Builder;
use Time::HiRes ();

my $PAUSE = 0.02;    # seconds between two pushes of a generator

# Seconds for which a refused spawn is tried again, and between two tries.
my ($TRY_FOR, $TRY_EVERY) = (5, 0.02);

my $hub = EventSource::Hub->new(per_process => 1);
my %KEPT;

sub source {
    my ($handler, %option) = @_;
    return Plack::App::EventSource->new(handler_cb => $handler, native => 1, %option)->to_app;
}

sub report_close {
    my ($conn, $env) = @_;
    my $tag = tag($env);
    $conn->on_close(sub { my ($same, $why) = @_; delete $KEPT{$tag}; report($tag, "closed by $why in $$") });
    return;
}

sub keep {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    $KEPT{tag($env)} = $conn;
    $conn->push("kept by $$");
    return;
}

# What a child does, by the name in the query.
my %CHILD = (
    generator => sub {
        my $conn = shift;
        my $number;
        while ($conn->push({data => ++$number})) { Time::HiRes::sleep($PAUSE) }
    },
    counts => sub { my $conn = shift; $conn->push($_) for 1 .. 3 },
    random => sub { my $conn = shift; $conn->push(rand) },
    dies   => sub { my $conn = shift; $conn->push('before'); die "on purpose\n" },
    exits  => sub { my $conn = shift; $conn->push('before'); exit 3 },
    forks  => sub {
        my ($conn, $tag) = @_;
        $conn->push('before');
        for my $end (qw(exits dies returns)) {
            defined(my $pid = fork) or die "fork: $!";
            exit 3                       if !$pid && $end eq 'exits';
            die "a child of the child\n" if !$pid && $end eq 'dies';
            return                       if !$pid;
            waitpid $pid, 0;
            $conn->push("$end " . ($? >> 8));
        }
        my $pid = open(my $output, '-|') // die "pipe: $!";
        if (!$pid) { print 'pipes'; exit }
        $conn->push(scalar readline $output);
    },
    much => sub {
        my ($conn, $tag) = @_;
        $conn->push('before');
        local $SIG{ALRM} = sub { report($tag, 'a push waits') if $EventSource::XS::is_pushing };
        Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), $PAUSE, $PAUSE);
        $conn->push('x' x 100_000) for 1 .. 200;
        Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0);
    },
    sleeps   => sub { my $conn = shift; $conn->push('asleep'); sleep 600 },
    stubborn => sub {
        my ($conn, $tag) = @_;
        local $SIG{TERM} = sub { report($tag, 'asked to end') };
        $conn->push('stubborn');
        sleep 600 for 1 .. 600;
    },
    waits => sub {
        my ($conn, $tag) = @_;
        pipe my $from, my $to or die "pipe: $!";
        my @got = $conn->wait($from, 0);
        syswrite $to, "x";
        push @got, $conn->wait($from), $conn->wait(undef, 0.01);
        local $SIG{TERM} = 'IGNORE';
        $conn->push("@got");
        report($tag, 'waited: ' . $conn->wait(undef, 60));
    },
    commands => sub {
        my ($conn, $tag) = @_;
        defined(my $pid = open my $output, '-|', 'sleep', 600) or die "sleep: $!";
        report($tag, "command $pid");
        $conn->push('asleep');
        readline $output;
    },
    nested => sub {
        my ($conn, $tag) = @_;
        report(
            $tag,
            eval {
                $conn->spawn(sub { });
                1;
            } ? 'spawned again' : 'no: ' . $@->code . " $@"
        );
        $conn->push('nested');
    },
    hub => sub {
        my ($conn, $tag) = @_;
        my $id = eval { $hub->publish(news => 'from a child') };
        report($tag, defined $id                                ? "published $id" : 'publish: ' . $@->code . " $@");
        report($tag, eval { $hub->subscribe($conn, 'news'); 1 } ? 'subscribed'    : 'subscribe: ' . $@->code);
        $conn->push('hub');
    },
    others => sub {
        my ($conn, $tag) = @_;
        report($tag, 'pushed: ' . join ' ', map { $_->push('from a child') ? 1 : 0 } values %KEPT);
        $conn->push('others');
        sleep 600;
    },
    closes => sub {
        my ($conn, $tag) = @_;
        report_close($conn, {QUERY_STRING => "tag=$tag"});
        $conn->close;
        report($tag, "child $$ goes on");
    },
);

# What the application does with the processes that end.
my $reap = sub {
    while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) { report('CHLD', "reaped $pid") }
};
my $chld = $ENV{CALLBACKS_CHLD} || '';
$SIG{CHLD} = $chld eq 'reap' ? $reap : 'IGNORE' if $chld;    ## no critic (RequireLocalizedPunctuationVars)

# Runs in the worker's END block only.
my $owner = $$;
END { report('END', $$ == $owner ? 'loaded' : 'other') if $ENV{TESTING_JOURNAL} }

sub spawn {
    my ($conn, $env) = @_;
    my $tag     = tag($env);
    my $what    = parameter($env, 'do');
    my $most    = parameter($env, 'most');
    my $is_late = parameter($env, 'late');
    my $much    = parameter($env, 'much');
    report_close($conn, $env);
    $conn->push("parent $$");
    $conn->push('x' x $much) if $much;
    $EventSource::XS::Stream::Child::DEADLINE = parameter($env, 'fails') ? 0 : 10;
    my $code = sub {
        my $conn = shift;
        report($tag, "child $$");
        $CHILD{$what}->($conn, $tag);
    };
    my %option = (grace => 0.5, $most ? (max_children => $most) : ());
    my $pid    = $conn->spawn($code, %option);

    # A busy machine may need a moment to send what was pushed before, or to notice the end of the child before.
    my $deadline = Time::HiRes::time() + (parameter($env, 'refused') ? 0 : $TRY_FOR);
    while (!$pid && $conn->is_open && Time::HiRes::time() < $deadline) {
        Time::HiRes::sleep($TRY_EVERY);
        $pid = $conn->spawn($code, %option);
    }
    report($tag, $pid ? "spawned $pid from $$" : "refused in $$");
    report($tag, 'open: ' . ($conn->is_open ? 1 : 0) . ', push: ' . ($conn->push('from the parent') ? 1 : 0));
    my $file = parameter($env, 'until');
    Time::HiRes::sleep($TRY_EVERY) while $file && !-e $file;
    return;
}

# Spawns after the handler. On a busy machine the timer may be due before Feersum sends the head.
sub spawn_later {
    my ($conn, $env) = @_;
    require AE;
    my $timer;
    my $try = sub {
        return if $conn->is_open && !$conn->stream->is_attached;
        undef $timer;
        spawn($conn, $env);
    };
    $timer = AE::timer(0.01, 0.01, $try);
    return;
}

# Gives a stream that is kept to a child.
sub give_away {
    my ($tag, $conn) = %KEPT;
    my $pid = delete($KEPT{$tag})->spawn(sub { sleep 600 });
    return answer("$pid");
}

sub length_of_body {
    my $env    = shift;
    my $length = 0;
    while (my $count = $env->{'psgi.input'}->read(my $bytes, 1_000)) { $length += $count }
    return answer($length);
}

# Waits in the worker.
sub waits {
    my ($conn, $env) = @_;
    report_close($conn, $env);
    pipe my $from, my $to or die "pipe: $!";
    my @got = $conn->wait($from, 0.01);
    syswrite $to, 'x';
    push @got, $conn->wait($from, 60);
    sysread $from, my $byte, 1;
    report($env, "got @got");
    $conn->push('waits');
    report($env, 'then ' . $conn->wait($from, 60));
    return;
}

$SIG{ALRM} = sub { report('ALRM', "in $$") };

my $app = builder {
    mount '/keep'   => source(\&keep);
    mount '/spawn'  => source(\&spawn);
    mount '/later'  => source(\&spawn_later);
    mount '/waits'  => source(\&waits);
    mount '/writer' => source(\&waits, native => $ENV{CALLBACKS_WRITER} ? 0 : 'auto');
    mount '/finish' =>
        source(sub { my $conn = shift; $conn->push('one'); $conn->finish(event => 'the-end', data => 'x') });
    mount '/publish'  => sub { $hub->publish(news => 'x'); return answer('published') };
    mount '/give'     => \&give_away;
    mount '/length'   => \&length_of_body;
    mount '/plain'    => sub { return answer("plain $$") };
    mount '/signals'  => sub { kill ALRM => $$; return answer('sent') };
    mount '/children' => sub { return answer(EventSource::XS::Stream::Child->count) };
};
my $signal = $ENV{CALLBACKS_SIGNAL};
$app = builder { enable 'EventSource', $signal ? (notify_signal => $signal) : (); $app } if $ENV{CALLBACKS_MIDDLEWARE};
$app;
