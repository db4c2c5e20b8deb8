package Testing::Browser::Chromium;
use Testing;

# Chromium, controlled over its DevTools pipe: messages of JSON that end with a NUL.

use parent 'Testing::Browser::Program';
use Carp  qw(croak);
use Fcntl qw(F_DUPFD);
use JSON::MaybeXS;
use POSIX       qw(dup2);
use Time::HiRes qw(time);

my @FLAGS = qw(
    --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --no-default-browser-check
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions --disable-breakpad
    --disable-crash-reporter --disable-default-apps --mute-audio --remote-debugging-pipe
    --ignore-certificate-errors
);

my $JSON = JSON::MaybeXS->new(utf8 => 1, allow_nonref => 1, canonical => 1);

# Asks a tab, or without one Chromium, for something, by the name it has in the DevTools protocol; the answer is a hash.
sub ask_in {
    my ($self, $tab, $method, %params) = @_;
    my $id = $self->_send($tab, $method, %params);
    my $answer;
    $self->_listen_until("answer to $method",
        sub { $answer = delete $self->{answers}{$id} or $tab && $tab->is_killed });
    croak "Browser: $method: the process of the page was killed" if !$answer;
    croak "Browser: $method: $answer->{error}{message}"          if $answer->{error};
    return $answer->{result};
}

sub close_in {
    my ($self, $tab) = @_;
    $self->ask_in(undef, 'Target.closeTarget', targetId => $tab->{target});
    delete $self->{by_session}{$tab->{session}};
    return;
}

sub command {
    my $self = shift;
    pipe my $its_in,    $self->{to} or croak "Browser: $!";
    pipe $self->{from}, my $its_out or croak "Browser: $!";
    $self->{to}->autoflush(1);
    $self->{its} = [$its_in, $its_out];
    return _program(), @FLAGS, "--user-data-dir=$self->{profile}", 'about:blank';
}

sub evaluate_in {
    my ($self, $tab, $expression) = @_;
    my $answer = $self->ask_in(
        $tab, 'Runtime.evaluate',
        expression    => $expression,
        returnByValue => JSON->true,
        awaitPromise  => JSON->true,
    );
    my $exception = $answer->{exceptionDetails};
    croak 'Browser: ' . ($exception->{exception}{description} || $exception->{text}) if $exception;
    return $answer->{result}{value};
}

sub greet {
    my $self = shift;
    delete $self->{its};
    $self->{received} = '';
    return;
}

sub kill_in {
    my ($self, $tab) = @_;
    $self->_send($tab, 'Page.crash');
    $self->_listen_until('end of the page', sub { $tab->is_killed });
    return $self->close_in($tab);
}

# Pages in the same process end with it, which their tabs tell.
sub kill_worker {
    my $self = shift;
    kill KILL => $self->pids_with_thread(qr/\ASharedWorker/);
    for my $tab ($self->tabs) {
        eval { $tab->evaluate('1') };
    }
    return;
}

sub missing { return _program() ? undef : 'chromium is not installed' }

# The process of a page: the one that takes time while the page does.
sub pid_of {
    my ($self, $tab) = @_;
    my $time = sub {
        map { ($_->{id} => $_->{cpuTime}) }
            grep { $_->{type} eq 'renderer' } @{$self->ask_in(undef, 'SystemInfo.getProcessInfo')->{processInfo}};
    };
    my %before = $time->();
    $self->evaluate_in($tab, '(end => { while (performance.now() < end); })(performance.now() + 400)');
    my %after = $time->();
    my ($most) =
        sort { $after{$b} - $before{$b} <=> $after{$a} - $before{$a} } grep { defined $before{$_} } keys %after;
    return $most;
}

# Registers the tab at once: what its page complains of comes from now on.
sub new_tab {
    my ($self, $url) = @_;
    my $tab = $self->SUPER::new_tab;
    $self->{by_session}{$tab->{session}} = $tab;
    $self->ask_in($tab, "$_.enable") for qw(Page Runtime Log Inspector);
    $tab->open($url) if defined $url;
    return $tab;
}

sub open_in {
    my ($self, $tab, $url) = @_;
    my $answer = $self->ask_in($tab, 'Page.navigate', url => $url);
    croak "Browser: $url: $answer->{errorText}" if $answer->{errorText};
    return;
}

sub open_tab {
    my $self   = shift;
    my $target = $self->ask_in(undef, 'Target.createTarget',   url => 'about:blank')->{targetId};
    my $answer = $self->ask_in(undef, 'Target.attachToTarget', targetId => $target, flatten => JSON->true);
    return (target => $target, session => $answer->{sessionId});
}

# Keeps an answer, and what a page should not do.
sub _hear {
    my ($self, $message) = @_;
    return $self->{answers}{$message->{id}} = $message if $message->{id};
    my ($method, $params) = @$message{qw(method params)};
    my $tab        = $self->{by_session}{$message->{sessionId} // ''} or return;
    my $complaints = $tab->{complaints};
    if ($method eq 'Runtime.exceptionThrown') {
        my $details = $params->{exceptionDetails};
        push @$complaints, $details->{exception}{description} || $details->{text};
    }
    elsif ($method eq 'Log.entryAdded' && $params->{entry}{level} eq 'error') {
        push @$complaints, "$params->{entry}{text} $params->{entry}{url}";
    }
    elsif ($method eq 'Inspector.targetCrashed') { $tab->{killed} = 1 }
    return;
}

sub _listen_until {
    my ($self, $what, $condition) = @_;
    my $deadline = time + $DEADLINE;
    until ($condition->()) {
        my $message = $self->_next_message($deadline) or croak "Browser: no $what within $DEADLINE s";
        $self->_hear($message);
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

# Chromium reads from descriptor 3 and writes to descriptor 4.
sub prepare_child {
    my $self = shift;
    my ($in, $out) = map { fcntl $_, F_DUPFD, 10 } @{$self->{its}};
    dup2($in,  3);
    dup2($out, 4);
    return;
}

sub _program { return __PACKAGE__->program_of(qw(chromium chromium-browser google-chrome)) }

# Sends a request, and returns its id.
sub _send {
    my ($self, $tab, $method, %params) = @_;
    my $id      = ++$self->{asked};
    my $request = {id => $id, method => $method, params => \%params, $tab ? (sessionId => $tab->{session}) : ()};
    local $SIG{PIPE} = 'IGNORE';
    print {$self->{to}} $JSON->encode($request), "\0" or croak "Browser: $!";
    return $id;
}

1;
