package Testing::Systemd;
use Testing;

# A real systemd with a journal, beside the one of the machine if there is one: process 1 of its own PID namespace, in a
# cgroup of its own, with a /run, a /dev, a /tmp and a /var/lib of its own; the rest of the machine is read-only for it. Its
# units are those of the test and nothing else. It ends with the object or with the process of the test, and so does all that it
# has started. The journal is shown when the test fails.
#
#   Testing::Systemd->require_or_skip_all;
#   my $systemd = Testing::Systemd->start(
#       system => {'shop.service' => $text},    # the units of the system
#       user   => {'shop.service' => $text},    # those of the manager of a user, www-data
#       copies => {blib => 'blib'},             # folders, and their names in /run/test: every user may read them
#   );
#   $systemd->install('eventsource-hub', $program);         # at /run/test/eventsource-hub
#   my ($status, $said) = $systemd->systemctl(start => 'shop.service');
#   is $systemd->property('shop.service', 'ActiveState'), 'active';
#   open my $file, '<', $systemd->path('/run/shop.pid');    # from outside
#
# A user's units are meant with ->user in front: $systemd->user->systemctl(start => 'shop.service').

use File::Temp ();    # before the next one: the folder is removed after systemd has ended
use parent 'Testing::ControlledProcess';
use Carp                       qw(croak);
use File::Basename             qw(dirname);
use File::Copy                 qw(copy);
use File::Path                 qw(make_path);
use File::Spec                 ();
use Testing::ControlledProcess qw(output_of);
use Testing::Developer         qw(has_command needs);
use Testing::ReadableCopy      qw(copy_for_all folder_for_all);
use Testing::SourceTree        qw(slurp write_file);

my $START_WITHIN = 60;                                              # seconds
my $ENDS_WITHIN  = 60;                                              # seconds, for a command
my $USER         = 'www-data';                                      # has a manager
my $MANAGER      = "user\@$USER.service";
my $SCRIPTS      = File::Spec->rel2abs(__FILE__) =~ s/[.]pm\z//r;

# What the units need of others, without what they would bring along: hardware, mounts, logins.
my @TARGETS = map { "$_.target" } qw(basic network shutdown sockets sysinit);

my @PROGRAMS = qw(journalctl mount nsenter setpriv systemctl timeout unshare);

# Copies a file to /run/test, in the place of an older one, as `make install` does: a process that runs that keeps its file.
sub install {
    my ($self, $name, $from) = @_;
    my $to = $self->path("/run/test/$name");
    copy($from, "$to.new") or croak "Systemd: $from: $!";
    chmod 0755, "$to.new";
    rename "$to.new", $to or croak "Systemd: $to: $!";
    return "/run/test/$name";
}

# Returns what systemd and the services have printed, and what has happened before there was a journal.
sub journal {
    my $self    = shift;
    my $printed = slurp("$self->{folder}/log");
    my @files   = glob "$self->{folder}/run/log/journal/*/*.journal";
    my (undef, $journal) = output_of(qw(journalctl --no-pager -o short-precise), map { "--file=$_" } @files);
    return $printed . (@files ? $journal : "there is no journal\n");
}

# Returns the path, for the machine, of a file in the /run of systemd.
sub path { my ($self, $path) = @_; return "$self->{folder}$path" }

sub property {
    my ($self, $unit, $name) = @_;
    my (undef, $value) = $self->systemctl('show', '--value', '-p', $name, $unit);
    chomp $value;
    return $value;
}

# Skips the test file where systemd cannot be run in namespaces. Where only programs are missing, it fails with
# EVENTSOURCE_XS_FULL.
sub require_or_skip_all {
    plan(skip_all => 'only root may run systemd in namespaces') if $>;
    needs(_missing());
    my $refusal = _refusal();
    plan(skip_all => "namespaces, mounts or cgroups are refused here: $refusal") if defined $refusal;
    return;
}

# Runs a command in the namespaces, as root or as the user, and returns its status and all output. The environment of the test
# names folders that the user may not read.
sub run {
    my ($self, @command) = @_;
    delete local @ENV{grep { /\APERL/ } keys %ENV};
    my @as = $self->{uid} ? ('-S', $self->{uid}, '-G', $self->{gid}) : ();
    return output_of('timeout', $ENDS_WITHIN, 'nsenter', '-t', $self->{systemd}, qw(-m -p -C), @as, '--', @command);
}

sub start {
    my ($class, %option) = @_;
    umask oct 22;    # of the whole test: systemd's users read the files of root
    my $folder = folder_for_all;
    make_path(map { "$folder/$_" } qw(cgroup dev run/systemd/journald.conf.d run/test));
    _write_units($folder, %option);
    copy_for_all($option{copies}{$_}, "$folder/run/test/$_") for keys %{$option{copies} || {}};
    my @command = (qw(unshare --mount), "$SCRIPTS/supervise", "$folder", _systemd());
    my $self    = $class->launch_program("$folder/log", \@command, folder => $folder);
    $self->_wait_until_booted;
    $self->_start_manager if $option{user};
    return $self;
}

# Shows the journal if the test has failed.
sub stop {
    my $self = shift;
    return if $self->{owner} != $$ || $self->{stopped}++;
    my $failed = $?                || !Test::More->builder->is_passing;
    diag("systemd and its services printed:\n" . $self->journal) if $failed;
    return $self->SUPER::stop;
}

sub systemctl {
    my ($self, @words) = @_;
    return $self->run('env', "XDG_RUNTIME_DIR=/run/user/$self->{uid}", qw(systemctl --user --no-pager), @words)
        if $self->{uid};
    return $self->run(qw(systemctl --no-pager), @words);
}

# Returns the same systemd, with the manager of the user.
sub user {
    my $self = shift;
    my (undef, undef, $uid, $gid) = getpwnam $USER;
    return bless {%$self, owner => 0, uid => $uid, gid => $gid}, ref $self;
}

# Writes a file in /run/test.
sub write {
    my ($self, $name, @text) = @_;
    return _write($self->path("/run/test/$name"), join '', @text);
}

sub _missing {
    return 'there is no systemd here' if !defined _systemd();
    my ($program) = grep { !has_command($_) } @PROGRAMS;
    return "there is no $program here"   if defined $program;
    return "there is no user $USER here" if !defined getpwnam $USER;
    return -s '/etc/machine-id' ? undef : 'there is no /etc/machine-id here';
}

# Tries what `supervise` and `boot` do. Returns what the machine says if it refuses.
sub _refusal {
    my $folder  = File::Temp->newdir(TEMPLATE => 'systemd-XXXXXX', TMPDIR => 1);
    my @mounts  = ('mount -t proc proc /proc', 'mount -t cgroup2 none "$0"', 'mkdir "$0/$$"', 'rmdir "$0/$$"');
    my @unshare = qw(unshare --fork --mount --pid --cgroup --ipc --uts sh -c);
    my ($status, $said) = output_of(@unshare, join(' && ', @mounts), "$folder");
    return $status ? $said =~ s/\n.*//sr : undef;
}

sub _start_manager {
    my $self = shift;
    my ($status, $said) = $self->systemctl(start => $MANAGER);
    croak "Systemd: the manager of $USER: $said" . $self->journal if $status;
    return;
}

sub _systemd {
    my ($systemd) = grep { -x } qw(/lib/systemd/systemd /usr/lib/systemd/systemd);
    return $systemd;
}

sub _wait_until_booted {
    my $self   = shift;
    my $booted = sub {
        CORE::open my $file, '<', "$self->{folder}/pid" or return !!0;
        ($self->{systemd}) = (readline($file) // '') =~ /\A([0-9]+)\n/ or return !!0;
        return $self->property('test.target', 'ActiveState') eq 'active';
    };
    return if wait_until($START_WITHIN, $booted);
    my $journal = $self->journal;
    $self->SUPER::stop;
    croak "Systemd: it does not start. It printed:\n$journal";
}

sub _write {
    my ($path, $text) = @_;
    make_path(dirname($path));
    return write_file($path, $text);
}

sub _write_units {
    my ($folder, %option) = @_;
    my $place = "$folder/run/test";
    my $alone = "[Unit]\nDefaultDependencies=no\n";
    _write("$folder/run/systemd/journald.conf.d/test.conf", "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n");
    for my $manager ('system', $option{user} ? 'user' : ()) {
        _write("$place/$manager/$_", $alone)                for @TARGETS;
        _write("$place/$manager/$_", $option{$manager}{$_}) for keys %{$option{$manager} || {}};
    }
    _write("$place/system/test.target", "${alone}Requires=systemd-journald.service\nAfter=systemd-journald.service\n");
    for my $unit (map { "systemd-journald.$_" } 'service', 'socket') {
        symlink dirname(_systemd()) . "/system/$unit", "$place/system/$unit" or croak "Systemd: $unit: $!";
    }
    return if !$option{user};
    _write("$place/user/default.target", $alone);
    my $uid = getpwnam $USER;
    _write "$place/system/$MANAGER", join "\n", '[Service]',
        'Type=notify',
        "User=$USER",
        'ExecStart=' . _systemd() . ' --user',
        "Environment=XDG_RUNTIME_DIR=/run/user/$uid SYSTEMD_UNIT_PATH=/run/test/user HOME=/run/test/home",
        "RuntimeDirectory=user/$uid",
        'RuntimeDirectoryMode=0700',
        'Delegate=yes',
        'LimitNOFILE=65536',
        'TimeoutStopSec=10',
        '';
    return;
}

1;
