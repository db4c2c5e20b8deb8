package Testing::Containers;
use Testing;

# podman with images and containers of its own, in namespaces of its own: nothing of it is left on the machine, and everything
# ends with the object or with the process of the test. Only builds have the machine's network. Containers have another one,
# with the address 10.0.0.5 for the host of the containers, and their clients run there, too.
#
#   Testing::Containers->require_or_skip_all;
#   my $host = Testing::Containers->start;
#   $host->bootstrap('debian:12-slim');                                   # from the machine's sources of packages
#   $host->build('context', '--tag', 'shop');
#   my ($status, $said) = $host->run('podman', 'ps');
#   my $stream = $host->client('curl', '-sN', 'http://127.0.0.1:8080/');  # a Testing::Program
#
# Commands see the folder of the object as /mnt.

use parent 'Testing::ControlledProcess';
use Carp                       qw(croak);
use File::Path                 qw(make_path);
use File::Spec                 ();
use File::Temp                 ();
use Testing::ControlledProcess qw(output_of);
use Testing::Developer         qw(has_command needs);
use Testing::Program;
use Testing::SourceTree qw(slurp write_file);

our $ADDRESS = '10.0.0.5';    ## no critic (ProhibitPackageVars)

my $START_WITHIN = 30;                                              # seconds
my $SCRIPTS      = File::Spec->rel2abs(__FILE__) =~ s/[.]pm\z//r;
my @PROGRAMS     = qw(apt-get catatonit conmon crun ip iptables mmdebstrap nsenter podman podman-compose unshare);

# A container may have as many processes and files as this process, where nobody may raise a limit.
my $CONFIGURATION = <<'CONF';
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
static_dir = "/mnt/static"
[network]
network_backend = "netavark"
network_config_dir = "/mnt/networks"
CONF

my %FILES = (
    'containers.conf' => $CONFIGURATION,
    'registries.conf' => qq{unqualified-search-registries = []\n},
    'storage.conf'    =>
        qq{[storage]\ndriver = "overlay"\ngraphroot = "/mnt/images"\nrunroot = "/run/containers/storage"\n},
);

my %ENVIRONMENT = (
    BUILDAH_ISOLATION          => 'chroot',
    CONTAINERS_CONF            => '/mnt/containers.conf',
    CONTAINERS_REGISTRIES_CONF => '/mnt/registries.conf',
    CONTAINERS_STORAGE_CONF    => '/mnt/storage.conf',
    HOME                       => '/mnt',
    LC_ALL                     => 'C.UTF-8',
    TMPDIR                     => '/mnt/tmp',
);

# Makes an image of Debian from the machine's sources of packages, as a registry would have it.
sub bootstrap {
    my ($self, $name) = @_;
    my @as_slim = map { "--dpkgopt=$_" } 'force-unsafe-io', map { "path-exclude=/usr/share/$_/*" } qw(doc locale man);
    my @to      = (_suite(), '/mnt/base.tar', _sources());
    $self->must({network => 'host'}, qw(mmdebstrap --quiet --variant=apt --format=tar), @as_slim, @to);
    $self->must(qw(podman import --quiet /mnt/base.tar), $name);
    unlink $self->folder('base.tar');
    return;
}

# Builds an image of a folder in the folder. It has the machine's network.
sub build {
    my ($self, $context, @options) = @_;
    return $self->must({network => 'host'}, qw(podman build --network host --layers=false), @options, "/mnt/$context");
}

# Runs a program in the network of the containers, beside the test.
sub client {
    my ($self, @command) = @_;
    return Testing::Program->new($command[0])->run({}, $self->_inside, qw(nsenter --net=/mnt/net), @command);
}

# Returns the path of a file in the folder, for this process.
sub folder { my ($self, @path) = @_; return join '/', $self->{folder}, @path }

# Runs a command, and dies if it fails. Returns its output.
sub must {
    my ($self,   @command) = @_;
    my ($status, $said)    = $self->run(@command);
    croak 'Containers: ' . join(' ', grep { !ref } @command) . ": status $status\n$said" if $status;
    return $said;
}

sub require_or_skip_all {
    plan(skip_all => 'only root may run containers here') if $>;
    plan(skip_all => 'this is not Debian 12')             if !defined _suite();
    needs(_missing());
    my $refusal = _refusal();
    plan(skip_all => "namespaces or mounts are refused here: $refusal") if defined $refusal;
    return;
}

# Runs a command, and returns its status and all output. A hash in front has more of the environment; with network => 'host'
# in it, the command has the machine's network.
sub run {
    my ($self, @command) = @_;
    my %environment = ref $command[0]              ? %{shift @command} : ();
    my @network     = delete $environment{network} ? ()                : qw(nsenter --net=/mnt/net);
    local @ENV{keys %ENVIRONMENT, keys %environment} = (values %ENVIRONMENT, values %environment);
    return output_of($self->_inside, @network, @command);
}

sub start {
    my $class  = shift;
    my $folder = File::Temp::tempdir('containers-XXXXXX', TMPDIR => 1);    # the supervisor removes it
    make_path(map { "$folder/$_" } qw(images networks static tmp));
    write_file("$folder/$_", $FILES{$_}) for keys %FILES;
    my $self = $class->launch_program("$folder/log", ["$SCRIPTS/supervise", $folder, "$ADDRESS/32"], folder => $folder);
    return $self if wait_until($START_WITHIN, sub { -s "$folder/pid" });
    my $log = slurp("$folder/log");
    $self->stop;
    croak "Containers: no namespaces:\n$log";
}

# Shows what the containers have printed if the test has failed.
sub stop {
    my $self = shift;
    return if $self->{owner} != $$ || $self->{stopped}++;
    my $failed = $?                || !Test::More->builder->is_passing;
    diag($self->_logs) if $failed && -s $self->folder('pid');
    return $self->SUPER::stop;
}

sub _inside {
    my $self = shift;
    $self->{inside} //= slurp($self->folder('pid')) =~ /\A([0-9]+)\n/ ? $1 : croak 'Containers: no process';
    return ('nsenter', '-t', $self->{inside}, qw(-m -p -i -u --wd=/mnt --));
}

sub _logs {
    my $self = shift;
    my (undef, $names) = $self->run(qw(podman ps --all --format {{.Names}}));
    return join '', map { "$_ printed:\n" . ($self->run(qw(podman logs), $_))[1] } split ' ', $names;
}

sub _missing {
    my ($program) = grep { !has_command($_) } @PROGRAMS;
    return "there is no $program here"     if defined $program;
    return 'there is no netavark here'     if !grep { -x "$_/netavark" } qw(/usr/lib/podman /usr/libexec/podman);
    return 'there is no aardvark-dns here' if !grep { -x "$_/aardvark-dns" } qw(/usr/lib/podman /usr/libexec/podman);
    return 'the lists of apt have no Debian: apt-get update' if !_sources();
    return undef;
}

# Tries what the scripts do. Returns what the machine says if it refuses.
sub _refusal {
    my @mounts = ('mount -t proc proc /proc', 'mount -t cgroup2 none /sys/fs/cgroup', 'mount -t tmpfs none /run');
    my ($status, $said) = output_of(qw(unshare --fork --mount --pid --ipc --uts --net sh -c), join ' && ', @mounts);
    return $status ? $said =~ s/\n.*//sr : undef;
}

# The lines that name the machine's sources of Debian's packages.
sub _sources {
    my $format = '$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)';
    my ($status, $said) = output_of(qw(apt-get indextargets --format), $format, 'Created-By: Packages');
    return $status ? () : $said =~ /^Debian (deb \S+ \S+ \S+)$/mg;
}

# The name of Debian 12, if this is one.
sub _suite {
    my $release = -e '/etc/os-release' ? slurp('/etc/os-release') : '';
    return $release =~ /^ID=debian$/m && $release =~ /^VERSION_ID="12"$/m ? 'bookworm' : undef;
}

1;
