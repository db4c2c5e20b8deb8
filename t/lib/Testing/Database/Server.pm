package Testing::Database::Server;
use Testing;

# A database with a server, on a free port of 127.0.0.1: see Testing::Database.
#
#   my $database = Testing::Database::PostgreSQL->start(config => {max_connections => 20});
#   $database->create_user(shop => 'INSERT ON stock', 'SELECT ON stock');
#   my $dbh = $database->connect_as('shop');    # its password is its name
#   $database->kill;                            # all its processes, by SIGKILL; `stop` is the same
#   $database->restart;                         # with what it has kept, on the same port; regularly, unless it has been killed
#
# It writes to the kernel, which outlives it, and does not wait for the disk.
#
# The folder that a program sets up is kept in target/databases, and each start copies it. Servers refuse to run as root, so
# they run as nobody then.
#
# A subclass has `programs` (the server, and what sets it up), `setup` (that command, for a folder and a file with
# `setup_input`), `first_arguments` and `settings` of the server, and `creation_of` (the SQL for a user with a password).

use parent             qw(Testing::Database Testing::Daemon);
use Carp               qw(croak);
use Digest::MD5        qw(md5_hex);
use Fcntl              qw(LOCK_EX);
use File::Path         qw(make_path);
use File::Spec         ();
use POSIX              ();
use Testing::Developer qw(has_command);
use Testing::Process   qw(children_of none_runs suspend);

my $TEMPLATES = 'target/databases';
my $WITHIN    = 60;                   # seconds, for a start after a kill

# Debian installs servers in these folders, which are not in a user's PATH; the newest first.
$ENV{PATH} = join ':', $ENV{PATH}, '/usr/sbin', reverse glob '/usr/lib/postgresql/*/bin';

# A server that has children starts no more of them while it is stopped.
sub ask_to_end {
    my $self = shift;
    suspend($self->pid);
    my @pids = ($self->pid, children_of($self->pid));
    CORE::kill(KILL => @pids);
    wait_until($WITHIN, sub { none_runs(@pids) }) or croak $self->name . ': it does not end';
    return;
}

sub connect_as {
    my ($self, $user, %attribute) = @_;
    require DBI;
    my ($dsn, undef, undef, $attributes) = $self->connect_info(%attribute);
    return DBI->connect($dsn, $user, $user, $attributes);
}

# Creates a user who may do what is granted, and nothing else. In SQL names are as they are given.
sub create_user {
    my ($self, $user, @privileges) = @_;
    my $dbh = $self->connect;
    $dbh->do($_) for $self->creation_of($user), map { "GRANT $_ TO $user" } @privileges;
    return;
}

# Returns the path of something in its folder.
sub file { return $_[0]->folder . "/$_[1]" }

sub kill { return $_[0]->stop }

sub missing {
    my $class = shift;
    my ($program) = grep { !has_command($_) } $class->programs;
    return defined $program ? "there is no $program here" : $class->SUPER::missing;
}

sub password { return 'testing' }

sub prepare_child {
    return if $> != 0;
    my ($uid, $gid) = _nobody();
    $) = "$gid $gid";
    POSIX::setgid($gid);
    POSIX::setuid($uid);
    return;
}

# The signal of a regular end that does not wait for clients.
sub regular_end { return 'TERM' }

sub restart {
    my $self = shift;
    if (!$self->has_ended) {
        CORE::kill($self->regular_end, $self->pid);
        wait_until($WITHIN, sub { $self->has_ended }) or croak $self->name . ': it does not end';
    }
    $self->stop;
    return $self->start_again;
}

# Options: config (more settings of the server).
sub start {
    my ($class, %option) = @_;
    my $self = $class->new($class->name);
    chown _nobody(), $self->folder if $> == 0;
    $self->_take_data;
    my %setting  = ($self->settings, %{$option{config} || {}});
    my ($server) = $self->programs;
    my @settings = map { "--$_=$setting{$_}" } sort keys %setting;
    return $self->run({}, $server, $self->first_arguments, @settings);
}

sub user { return 'testing' }

# Returns what the data depend on: the program, its version and who runs it.
sub _key {
    my $self = shift;
    my ($server) = map {
        my $name = $_;
        grep { -x } map { "$_/$name" } split /:/, $ENV{PATH}
    } $self->programs;
    return join '-', $self->name,
        md5_hex(join "\0", $self->setup('', ''), $self->setup_input, $server, (stat $server)[7, 9], $>);
}

sub _must {
    my @command = @_;
    return system(@command) == 0 || croak "Database: failed: @command";
}

sub _nobody { return (getpwnam 'nobody')[2, 3] }

# Sets the data up, and keeps a copy for the next start.
sub _set_up {
    my ($self, $template) = @_;
    my $input = $self->file('input');
    open my $file, '>', $input or croak "$input: $!";
    print {$file} $self->setup_input;
    close $file and chmod 0644, $input or croak "$input: $!";
    $self->Testing::Program::run({}, $self->setup($self->file('data'), $input));
    wait_until($WITHIN, sub { $self->has_ended });
    $self->stop && croak $self->name . ": it cannot be set up:\n" . $self->log;
    delete $self->{status};
    _must('rm', '-rf', "$template.new");
    _must('cp', '-a', $self->file('data'), "$template.new");
    rename "$template.new", $template or croak "$template: $!";
    return;
}

# Test files may start the first of a kind at the same time.
sub _take_data {
    my $self = shift;
    make_path($TEMPLATES);
    my $template = File::Spec->rel2abs("$TEMPLATES/" . $self->_key);
    open my $lock, '>>', "$TEMPLATES/lock" or croak "$TEMPLATES/lock: $!";
    flock $lock, LOCK_EX or croak "$TEMPLATES/lock: $!";
    return $self->_set_up($template) if !-d $template;
    return _must('cp', '-a', $template, $self->file('data'));
}

# It accepts connections before it has recovered.
sub _wait_until_it_accepts {
    my $self = shift;
    $self->SUPER::_wait_until_it_accepts;
    my $is_there = sub {
        eval { $self->connect->disconnect }
    };
    wait_until($WITHIN, sub { $self->has_ended || $is_there->() }) && !$self->has_ended
        or croak $self->name . ": it does not answer: $@\n" . $self->log;
    return;
}

1;
