package Testing::Browser;
use Testing;

# A real headless Chromium, controlled over its DevTools pipe. Its processes and its profile are removed with the object.
#
#   my $browser = Testing::Browser->start;
#   $browser->open($server->url('/'));
#   $browser->wait_for('document.title === "ready"', 'the page is ready');

use Carp               qw(croak);
use Testing::Deadline  qw(wait_until);
use Testing::Developer qw(needs);
use Testing::Process   qw(processes_like);
use Fcntl              qw(F_DUPFD);
use File::Path         qw(remove_tree);
use File::Spec         ();
use File::Temp         ();
use JSON::MaybeXS;
use POSIX        qw(WNOHANG dup2 setpgid);
use Scalar::Util qw(weaken);
use Time::HiRes  qw(sleep time);

my $WITHIN     = 30;     # seconds that anything may take
my $LOOK_EVERY = 0.05;

my @FLAGS = qw(
    --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --no-default-browser-check
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions --disable-breakpad
    --disable-crash-reporter --disable-default-apps --mute-audio --remote-debugging-pipe
);

# The browsers of this process that run, by pid: they end with the test, before their profiles are removed.
my %RUNNING;

END {
    $_->stop for grep { defined } values %RUNNING;
}

my $JSON = JSON::MaybeXS->new(utf8 => 1, allow_nonref => 1, canonical => 1);

# Public methods

# Asks Chromium for something, by the name it has in the DevTools protocol; the answer is a hash.
sub ask {
    my ($self, $method, %params) = @_;
    my $id      = ++$self->{asked};
    my $session = $self->{session};
    my $command = {id => $id, method => $method, params => \%params, $session ? (sessionId => $session) : ()};
    print {$self->{to}} $JSON->encode($command), "\0" or croak "Browser: $!";
    my $deadline = time + $WITHIN;
    while (time < $deadline) {
        my $message = $self->_next_message($deadline) or last;
        if (($message->{id} || 0) == $id) {
            croak "Browser: $method: $message->{error}{message}" if $message->{error};
            return $message->{result};
        }
        $self->_hear($message);
    }
    croak "Browser: no answer to $method within $WITHIN s";
}

# Returns the exceptions and failed requests that the page has reported.
sub complaints { return @{$_[0]{complaints}} }

# The value of a JavaScript expression in the page, once it is there if it is a promise.
sub evaluate {
    my ($self, $expression) = @_;
    my $answer = $self->ask(
        'Runtime.evaluate',
        expression    => $expression,
        returnByValue => JSON->true,
        awaitPromise  => JSON->true,
    );
    my $exception = $answer->{exceptionDetails};
    croak 'Browser: ' . ($exception->{exception}{description} || $exception->{text}) if $exception;
    return $answer->{result}{value};
}

# Why there is no browser here; undef if there is.
sub missing {
    return _program() ? undef : 'chromium is not installed';
}

# Loads a page, up to its load event.
sub open {
    my ($self, $url) = @_;
    my $answer = $self->ask('Page.navigate', url => $url);
    croak "Browser: $url: $answer->{errorText}" if $answer->{errorText};
    my $there = $url eq 'about:blank' ? '===' : '!==';
    return $self->wait_for("document.readyState === 'complete' && location.href $there 'about:blank'",
        "$url is loaded");
}

# Ends the test file, green, if there is no browser; with EVENTSOURCE_XS_FULL there has to be one.
sub require_or_skip_all {
    return needs(missing());
}

sub start {
    my $class = shift;
    my $self  = bless {
        profile    => File::Temp->newdir('browser-XXXXXX', TMPDIR => 1),
        owner      => $$,
        received   => '',
        asked      => 0,
        complaints => [],
    }, $class;
    $self->_spawn;
    my $target = $self->ask('Target.createTarget', url => 'about:blank')->{targetId};
    $self->{session} =
        $self->ask('Target.attachToTarget', targetId => $target, flatten => JSON->true)->{sessionId};
    $self->ask("$_.enable") for qw(Page Runtime Log);
    return $self;
}

sub stop {
    my $self = shift;
    my $pid  = delete $self->{pid};
    return if !$pid || $self->{owner} != $$;
    delete $RUNNING{$pid};
    local ($?, $!, $@);
    local $SIG{PIPE} = 'IGNORE';
    print {$self->{to}} $JSON->encode({id => 0, method => 'Browser.close'}), "\0";
    wait_until(5, sub { waitpid $pid, WNOHANG });
    kill KILL => -$pid;
    waitpid $pid, 0;
    my $profile = delete($self->{profile})->dirname;
    wait_until(
        $WITHIN,
        sub {
            my @users = (_users($profile), kill 0, -$pid);    # they write to the profile to the last
            remove_tree($profile, {error => \my $ignored});
            return !-d $profile && !grep { $_ } @users;
        }
    );
    return;
}

# Waits until an expression is true in the page; what it is then. A failed test, and undef, if that takes too long.
sub wait_for {
    my ($self, $expression, $name) = @_;
    my $deadline = time + $WITHIN;
    my $value;
    until ($value = eval { $self->evaluate($expression) }) {
        if (time > $deadline) {
            fail $name;
            diag "Not true within $WITHIN s: $expression", $@ ? "\n$@" : '';
            diag "The page complains: $_" for $self->complaints;
            return;
        }
        sleep $LOOK_EVERY;
    }
    pass $name;
    return $value;
}

sub DESTROY { $_[0]->stop; return }

# Private functions and methods

# Keeps what a page should not do.
sub _hear {
    my ($self,   $message) = @_;
    my ($method, $params)  = @$message{qw(method params)};
    return if !defined $method;
    if ($method eq 'Runtime.exceptionThrown') {
        my $details = $params->{exceptionDetails};
        push @{$self->{complaints}}, $details->{exception}{description} || $details->{text};
    }
    elsif ($method eq 'Log.entryAdded' && $params->{entry}{level} eq 'error') {
        push @{$self->{complaints}}, "$params->{entry}{text} $params->{entry}{url}";
    }
    return;
}

# Messages end with a NUL.
sub _next_message {
    my ($self, $deadline) = @_;
    my $end;
    while (($end = index $self->{received}, "\0") < 0) {
        my $seconds = $deadline - time;
        vec(my $ready = '', fileno $self->{from}, 1) = 1;
        return if $seconds <= 0 || !select $ready, undef, undef, $seconds;
        sysread $self->{from}, $self->{received}, 65_536, length $self->{received} or croak 'Browser: it has ended';
    }
    my $message = substr $self->{received}, 0, $end + 1, '';
    chop $message;
    return $JSON->decode($message);
}

sub _program {
    for my $name (qw(chromium chromium-browser google-chrome)) {
        my ($path) = grep { -x } map { File::Spec->catfile($_, $name) } File::Spec->path;
        return $path if $path;
    }
    return;
}

# Chromium reads from descriptor 3 and writes to descriptor 4.
sub _spawn {
    my $self = shift;
    my @command =
        (_program() || croak('Browser: ' . missing()), @FLAGS, "--user-data-dir=$self->{profile}", 'about:blank');
    pipe my $its_in,    $self->{to} or croak "Browser: $!";
    pipe $self->{from}, my $its_out or croak "Browser: $!";
    $self->{to}->autoflush(1);
    defined(my $pid = fork) or croak "Browser: $!";
    if (!$pid) {
        setpgid(0, 0);
        my ($in, $out) = map { fcntl $_, F_DUPFD, 10 } $its_in, $its_out;
        dup2($in,  3);
        dup2($out, 4);
        CORE::open STDIN,  '<',  File::Spec->devnull;
        CORE::open STDOUT, '>',  "$self->{profile}/said";
        CORE::open STDERR, '>&', \*STDOUT;
        @ENV{qw(HOME XDG_CONFIG_HOME XDG_CACHE_HOME)} = ("$self->{profile}") x 3;
        exec {$command[0]} @command or POSIX::_exit(127);
    }
    setpgid($pid, $pid);
    $self->{pid} = $pid;
    weaken($RUNNING{$pid} = $self);
    return;
}

# Kills the processes whose command lines name the profile, and returns their ids: crash handlers are in no group of ours.
sub _users {
    my $profile = shift;
    my @pids    = processes_like(qr/\Q$profile\E/);
    kill KILL => @pids;
    return @pids;
}

1;
