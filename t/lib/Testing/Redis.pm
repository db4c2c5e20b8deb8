package Testing::Redis;
use Testing;

# A real redis-server on a free port of 127.0.0.1, in a folder of its own. It ends with the object.
#
#   my $redis = Testing::Redis->start(appendonly => 1, password => 'secret');
#   my $hub   = EventSource::Hub->new(name => 'shop', store => {redis => $redis->url});
#   is $redis->command('XLEN', $key), 3;
#   $redis->kill;       # by SIGKILL
#   $redis->restart;    # with what it has kept on the disk; on the same port
#
# Options: appendonly (1: on the disk every second; 'always'), snapshot (1: saved at a regular end and every second), password
# (of the user `default`), acl (lines, such as 'user shop on >secret ~es:* +@all'), tls (1, or 'clients' if they need a
# certificate), maxmemory and policy, replica_of (another object), config (more lines), env (a hash). Without any of the first
# two it forgets everything when it ends.
#
# Commands of a test go over a Unix socket as a user of their own, whatever the options are. EVENTSOURCE_XS_REDIS_SERVER names
# another program: of another version, or that of Valkey.

use parent 'Testing::Daemon';
use Carp               qw(croak);
use Testing::Developer qw(has_command needs);
use IO::Select         ();
use IO::Socket::UNIX;
use Testing::Certificates;
use Testing::SourceTree qw(write_file);

my $USER   = 'testing';    # and its password
my $WITHIN = 20;           # seconds, for an answer

# The paths of files for TLS: the authority's certificate, a client's certificate and its key.
sub ca   { return $_[0]{certificates}->ca }
sub cert { return $_[0]{client}[0] }
sub key  { return $_[0]{client}[1] }

# Returns the answer to a command: a string, a number, a reference to an array, or undef. Dies of an error.
sub command {
    my ($self, @words) = @_;
    my $socket = IO::Socket::UNIX->new(Peer => $self->_socket) or croak "Redis: $!";
    for my $request ($self->_login, \@words) {
        utf8::encode(my $bytes = join '', '*' . @$request . "\r\n", map { '$' . length . "\r\n$_\r\n" } @$request);
        print {$socket} $bytes or croak "Redis: $!";
        $socket->flush;
    }
    my $buffer = '';
    _answer($socket, \$buffer) for $self->_login;
    return _answer($socket, \$buffer);
}

# The lines of INFO, by name.
sub info {
    my ($self, @section) = @_;
    return {map { /\A(\w+):(.*?)\r?\z/ ? ($1 => $2) : () } split /\n/, $self->command('INFO', @section)};
}

# Kills it.
sub kill {
    my $self = shift;
    CORE::kill(KILL => $self->pid) if !$self->has_ended;
    wait_until($WITHIN, sub { $self->has_ended }) or croak 'Redis: it does not end';
    $self->stop;
    return;
}

# Stops its process, so that it answers nothing and its connections stay, and has it continue.
sub pause  { my $self = shift; CORE::kill(STOP => $self->pid); return }
sub resume { my $self = shift; CORE::kill(CONT => $self->pid); return }

# Why there can be no server; undef if there can.
sub missing {
    my $program = _program();
    return -x $program || has_command($program) ? undef : "there is no $program here";
}

# Ends the test file, or the subtest, green, if there is no server; with EVENTSOURCE_XS_FULL, it has to be there.
sub require_or_skip_all { return needs($_[0]->missing) }

# The same for a server with TLS. Another server than Debian's may be built without it.
sub require_tls_or_skip_all {
    my $class = shift;
    needs(Testing::Certificates->trouble);
    my $said = _said(qw(--port 0 --tls-port 1 --tls-cert-file /nowhere --tls-key-file /nowhere));
    my $lack = $said =~ /Bad directive|Missing implement/ ? 'this server has no TLS' : return;
    return $ENV{EVENTSOURCE_XS_REDIS_SERVER} ? Test::More::plan(skip_all => $lack) : needs($lack);
}

# Ends it with a signal, unless it has ended, and starts it once more on the same port.
sub restart {
    my ($self, $signal) = @_;
    CORE::kill($signal || 'TERM', $self->pid) if !$self->has_ended;
    wait_until($WITHIN, sub { $self->has_ended }) or croak 'Redis: it does not end';
    $self->stop;
    return $self->start_again;
}

sub start {
    my ($class, %option) = @_;
    my $self = $class->new(_program());
    $self->{option} = \%option;
    $self->_make_certificates if $option{tls};
    $self->_configure;
    return $self->run($option{env} || {}, _program(), $self->_file);
}

# Returns its URL. Options: user, password (undef for none), database, port (of a proxy in front of it).
sub url {
    my ($self, %option) = @_;
    %option = (user => '', password => $self->{option}{password}, port => $self->port, database => 0, %option);
    my $scheme = $self->{option}{tls}      ? 'rediss'                            : 'redis';
    my $login  = defined $option{password} ? "$option{user}:$option{password}\@" : '';
    return "$scheme://${login}127.0.0.1:$option{port}/$option{database}";
}

# Reads an answer (RESP, the protocol of Redis).
sub _answer {
    my ($socket, $buffer) = @_;
    my ($type,   $text)   = _line($socket, $buffer) =~ /\A(.)(.*)\z/s;
    return $text                                          if $type eq '+';
    return $text + 0                                      if $type eq ':';
    croak "Redis: $text"                                  if $type eq '-';
    return undef                                          if $text < 0;
    return [map { _answer($socket, $buffer) } 1 .. $text] if $type eq '*';
    _read($socket, $buffer) while length $$buffer < $text + 2;
    my $answer = substr $$buffer, 0, $text + 2, '';
    return substr $answer, 0, $text;
}

# A Unix socket has at most 107 bytes, so it is short.
sub _socket { return $_[0]->folder . '/s' }

sub _configure {
    my $self   = shift;
    my %option = %{$self->{option}};
    my $folder = $self->folder;
    my @lines  = (
        'bind 127.0.0.1',
        'daemonize no',
        "dir $folder",
        "unixsocket " . $self->_socket,
        $option{snapshot} ? 'save 1 1' : 'save ""',
        'repl-diskless-sync-delay 0',
        "user $USER on >$USER ~* &* +\@all",
        @{$option{acl} || []},
        $self->_tls,
        @{$option{config} || []}
    );
    push @lines, 'appendonly yes', 'appendfsync ' . ($option{appendonly} eq 'always' ? 'always' : 'everysec')
        if $option{appendonly};
    push @lines, "requirepass $option{password}" if defined $option{password};
    push @lines, "maxmemory $option{maxmemory}", 'maxmemory-policy ' . ($option{policy} || 'noeviction')
        if $option{maxmemory};
    push @lines, "masteruser $USER", "masterauth $USER";
    push @lines, 'replicaof 127.0.0.1 ' . $option{replica_of}->port if $option{replica_of};
    write_file($self->_file, join '', map { "$_\n" } @lines);
    return;
}

sub _file { return $_[0]->folder . '/redis.conf' }

sub _line {
    my ($socket, $buffer) = @_;
    _read($socket, $buffer) while $$buffer !~ /\r\n/;
    $$buffer =~ s/\A(.*?)\r\n//s;
    return $1;
}

sub _login { return ['AUTH', $USER, $USER] }

sub _make_certificates {
    my $self = shift;
    $self->{certificates} = Testing::Certificates->new($self->folder);
    $self->{server}       = [$self->{certificates}->sign('server', 'IP:127.0.0.1,DNS:localhost')];
    $self->{client}       = [$self->{certificates}->sign('client', 'DNS:client')];
    return;
}

sub _program { return $ENV{EVENTSOURCE_XS_REDIS_SERVER} || 'redis-server' }

sub _read {
    my ($socket, $buffer) = @_;
    IO::Select->new($socket)->can_read($WITHIN) or croak 'Redis: no answer';
    sysread $socket, $$buffer, 65_536, length $$buffer or croak 'Redis: the connection has ended';
    return;
}

# What the program prints before it ends.
sub _said {
    my $program = Testing::Program->new('redis-server')->run({}, _program(), @_);
    wait_until($WITHIN, sub { $program->has_ended });
    $program->stop;
    return $program->log;
}

sub _tls {
    my $self = shift;
    my $tls  = $self->{option}{tls} or return 'port ' . $self->port;
    return (
        'port 0',
        'tls-port ' . $self->port,
        "tls-cert-file $self->{server}[0]",
        "tls-key-file $self->{server}[1]",
        'tls-ca-cert-file ' . $self->ca,
        'tls-auth-clients ' . ($tls eq 'clients' ? 'yes' : 'no'),
        'tls-replication yes',
    );
}

# It accepts connections before it has read what is on the disk.
sub _wait_until_it_accepts {
    my $self = shift;
    $self->SUPER::_wait_until_it_accepts;
    wait_until $WITHIN, sub {
        eval { $self->command('PING') }
    } or croak "Redis: it does not answer: $@\n" . $self->log;
    return;
}

1;
