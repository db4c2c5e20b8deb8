package Testing::Chroot;
use Testing;

# A Debian of its own in a folder, without a compiler: with the essential packages, apt, and those that the test names. Its
# processes are in a PID namespace of their own, which has the network of the machine. They end with the object.
#
#   Testing::Chroot->require_or_skip_all;
#   my $debian = Testing::Chroot->start('starman');
#   my ($status, $said) = $debian->run('apt-get', 'update');
#   my $said = $debian->must('id', '-u');           # dies if it fails
#   my $starman = $debian->program({HUB => 'shop'}, 'starman', 'app.psgi');    # a Testing::Program
#   my $folder = $debian->folder;                   # as the machine sees it

use Carp               qw(croak);
use Cwd                qw(abs_path);
use File::Copy         qw(copy);
use Testing::Developer qw(has_command needs);
use Testing::Program;
use Testing::ControlledProcess qw(output_of);
use Testing::SourceTree        qw(slurp write_file);

my $STARTS_WITHIN = 10;     # seconds
my $ENDS_WITHIN   = 1200;

sub folder { return $_[0]{folder} }

sub must {
    my ($self,   @command) = @_;
    my ($status, $said)    = $self->run(@command);
    croak "@command: status $status\n$said" if $status != 0;
    return $said;
}

sub program {
    my ($self, $environment, @command) = @_;
    my @settings = map { "$_=$environment->{$_}" } sort keys %$environment;
    return Testing::Program->new($command[0])->run({}, $self->_inside, 'env', @settings, @command);
}

sub require_or_skip_all {
    needs($> == 0                  ? undef : 'a Debian in a folder needs root');
    needs(-e '/etc/debian_version' ? undef : 'this is not Debian');
    needs("there is no $_ here") for grep { !has_command($_) } qw(mmdebstrap nsenter unshare);
    return;
}

# Returns the exit status and the output of a command.
sub run {
    my ($self, @command) = @_;
    return output_of('timeout', $ENDS_WITHIN, $self->_inside, @command);
}

sub start {
    my ($class, @packages) = @_;
    my $home    = new_folder;
    my $self    = bless {home => $home, folder => "$home/debian"}, $class;
    my ($suite) = slurp('/etc/os-release') =~ /^VERSION_CODENAME=(\w+)/m or croak 'Chroot: which Debian is this?';
    my @sources = grep { -s } '/etc/apt/sources.list', glob '/etc/apt/sources.list.d/debian.sources';
    my @make    = ('mmdebstrap', '--quiet', '--mode=root', '--variant=apt', '--include=' . join(',', @packages));

    # The machine's settings of apt, such as those of its mirror, count here too.
    push @make, map { "--aptopt=$_" } grep { -f } glob '/etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf.d/*registry*';
    my $said = qx{@make $suite $self->{folder} @sources 2>&1};
    croak "Chroot: mmdebstrap: $said" if $? != 0;
    copy('/etc/resolv.conf', "$self->{folder}/etc/resolv.conf") or croak "Chroot: resolv.conf: $!";

    # No service is started by the installation of its package.
    write_file("$self->{folder}/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
    chmod 0755, "$self->{folder}/usr/sbin/policy-rc.d";

    # Process 1 of the namespace: the others end with it.
    my $script    = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" sleep infinity';
    my @namespace = qw(unshare --mount --propagation private --pid --fork --kill-child);
    $self->{holder} =
        Testing::Program->new('namespace')->run({}, @namespace, 'sh', '-c', $script, 'sh', $self->{folder});
    wait_until $STARTS_WITHIN, sub {
        ($self->{first}) = grep { _is_sleep($_) } $self->{holder}->pids;
        $self->{first};
    } or croak 'Chroot: there is no namespace: ' . $self->{holder}->log;
    return $self;
}

sub _inside {
    my $self = shift;
    my @path = ('PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C', 'HOME=/root');
    return ('nsenter', "--target=$self->{first}", qw(--mount --pid --root --wd=/ env -i),
        @path, 'DEBIAN_FRONTEND=noninteractive');
}

sub _is_sleep { return (readlink "/proc/$_[0]/exe" // '') =~ m{/sleep\z} }

1;
