package Testing::Browser::Firefox;
use Testing;

# Firefox, controlled over Marionette: messages of JSON on a TCP connection, each with its length in front. It shows scripts the
# properties of a page's window, not what the page has declared with let, const and class. An expression may not be several
# statements.

use parent 'Testing::Browser::Program';
use Carp qw(croak);
use IO::Socket::INET;
use JSON::MaybeXS;
use Time::HiRes qw(time);

my $JSON = JSON::MaybeXS->new(utf8 => 1, allow_nonref => 1, canonical => 1);

# Seconds. Beside other tests, Firefox takes more than 30 to open its first window.
my $PATIENCE = 120;

# 0: a free port, which it writes to a file of the profile. The rest keeps it from asking others for anything.
my %PREFERENCES = (
    'marionette.port'                            => 0,
    'app.update.disabledForTesting'              => JSON->true,
    'datareporting.policy.dataSubmissionEnabled' => JSON->false,
    'network.captive-portal-service.enabled'     => JSON->false,
    'network.connectivity-service.enabled'       => JSON->false,
    'toolkit.telemetry.reportingpolicy.firstRun' => JSON->false,
);

# Asks a tab, or without one Firefox, for something, by the name that it has in Marionette.
sub ask_in {
    my ($self, $tab, $name, %params) = @_;
    $self->_switch_to($tab) if $tab;
    my $text = $JSON->encode([0, ++$self->{asked}, $name, \%params]);
    $self->{socket}->syswrite(length($text) . ":$text") or croak "Browser: $!";
    my (undef, undef, $error, $result) = @{$self->_next_message($name)};
    croak "Browser: $name: $error->{error}: $error->{message}" if $error;
    return $result;
}

sub close_in {
    my ($self, $tab) = @_;
    $self->ask_in($tab, 'WebDriver:CloseWindow');
    delete $self->{current};
    return;
}

sub command {
    my $self = shift;
    open my $preferences, '>', "$self->{profile}/user.js" or croak "Browser: $!";
    print {$preferences} map {
        sprintf "user_pref(%s, %s);\n", map { $JSON->encode($_) } $_, $PREFERENCES{$_}
        }
        sort keys %PREFERENCES;
    close $preferences or croak "Browser: $!";
    return _program(), qw(--headless --no-remote --marionette --remote-allow-system-access), '--profile',
        "$self->{profile}";
}

sub evaluate_in {
    my ($self, $tab, $expression) = @_;
    croak 'Browser: the process of the page was killed' if $tab->is_killed;
    return $self->_execute($tab, "return (async () => ($expression))()");
}

sub greet {
    my $self = shift;
    $self->{received} = '';
    my $port = 0;
    wait_until($PATIENCE, sub { $port = $self->_port }) or croak 'Browser: no port of Marionette';
    $self->{socket} = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or croak "Browser: $@";
    $self->_next_message('greeting');
    $self->ask_in(undef, 'WebDriver:NewSession', acceptInsecureCerts => JSON->true);
    $self->ask_in(undef, 'WebDriver:SetTimeouts', script => 1_000 * $PATIENCE, pageLoad => 1_000 * $PATIENCE);
    return;
}

# Firefox has several tabs of a site in one process. All of them are killed.
sub kill_in {
    my ($self, $tab) = @_;
    my %pid_of = $self->_processes;
    $self->_kill($pid_of{$tab->{handle}}, \%pid_of);
    return $self->close_in($tab);
}

# The process of the first tab, which has no page of a test, may have a thread of that name, too.
sub kill_worker {
    my $self   = shift;
    my %pid_of = $self->_processes;
    my $first  = $pid_of{$self->{tabs}[0]{handle}};
    my %is_one = map { ($_ => 1) } grep { defined && $_ != $first } values %pid_of;
    $self->_kill($_, \%pid_of) for grep { $is_one{$_} } $self->pids_with_thread(qr/\ADOM Worker/);
    return;
}

sub missing { return _program() ? undef : 'Firefox is not installed' }

sub open_in {
    my ($self, $tab, $url) = @_;
    $self->ask_in($tab, 'WebDriver:Navigate', url => $url);
    return;
}

# The first one is the one that it begins with.
sub open_tab {
    my $self = shift;
    my ($first) = @{$self->{tabs} || []}
        or return (handle => $self->ask_in(undef, 'WebDriver:GetWindowHandle')->{value});
    return (handle => $self->ask_in($first, 'WebDriver:NewWindow', type => 'tab', focus => JSON->false)->{handle});
}

sub _execute {
    my ($self, $tab, $script) = @_;
    return $self->ask_in($tab, 'WebDriver:ExecuteScript', script => $script, args => [], newSandbox => JSON->false)
        ->{value};
}

sub _kill {
    my ($self, $pid, $pid_of) = @_;
    $_->{killed} = 1 for grep { ($pid_of->{$_->{handle}} // 0) == $pid } $self->tabs;
    kill KILL => $pid;
    return;
}

# A length, a colon, and that many bytes.
sub _next_message {
    my ($self, $what) = @_;
    my $deadline = time + $PATIENCE;
    until ($self->{received} =~ /\A([0-9]+):/ && length $self->{received} >= $+[0] + $1) {
        my $seconds = $deadline - time;
        vec(my $ready = '', fileno $self->{socket}, 1) = 1;
        croak "Browser: no answer to $what within $PATIENCE s"
            if $seconds <= 0 || !select $ready, undef, undef, $seconds;
        sysread $self->{socket}, $self->{received}, 65_536, length $self->{received}
            or croak 'Browser: it has ended';
    }
    my ($length, $rest) = split /:/, $self->{received}, 2;
    $self->{received} = substr $rest, $length;
    return $JSON->decode(substr $rest, 0, $length);
}

sub _port {
    my $self = shift;
    open my $file, '<', "$self->{profile}/MarionetteActivePort" or return;
    return readline $file;
}

# The processes of the tabs, by handle.
sub _processes {
    my $self    = shift;
    my @handles = @{$self->ask_in(undef, 'WebDriver:GetWindowHandles')};
    $self->ask_in(undef, 'Marionette:SetContext', value => 'chrome');
    my @pids = @{
        $self->_execute(undef,
            'return gBrowser.tabs.map(tab => tab.linkedBrowser.browsingContext.currentWindowGlobal?.osPid)')
    };
    $self->ask_in(undef, 'Marionette:SetContext', value => 'content');
    my %pid_of;
    @pid_of{@handles} = @pids;
    return %pid_of;
}

sub _program { return __PACKAGE__->program_of(qw(firefox-esr firefox)) }

sub _switch_to {
    my ($self, $tab) = @_;
    return if ($self->{current} // '') eq $tab->{handle};
    $self->ask_in(undef, 'WebDriver:SwitchToWindow', handle => $tab->{handle}, focus => JSON->false);
    $self->{current} = $tab->{handle};
    return;
}

1;
