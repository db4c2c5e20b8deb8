package Testing::Release;
use strict;
use warnings;

# A release of this distribution, to run beside another one: the current one, which make has built, and the previous one, of
# which t/data/releases has the sources (script/fixture). These are built once, into target/releases, from the dependencies that
# the tests of both crates have compiled; only the two crates themselves are compiled anew.
#
#   my ($old, $new) = Testing::Release->both_or_skip_all;
#   my $server = Testing::Server->start('Starman', $psgi, env => $old->env);
#   my $done   = $old->run({EVENTSOURCE_RUNTIME_DIR => $folder}, 'hub', 'stop', 'shop');    # {code => 0, out => '', err => ''}

use Carp               qw(croak);
use Config             qw(%Config);
use Cwd                qw(getcwd);
use Digest::SHA        ();
use Fcntl              qw(LOCK_EX);
use File::Basename     qw(basename);
use File::Path         qw(make_path remove_tree);
use File::Spec         ();
use File::Temp         ();
use IPC::Open3         qw(open3);
use Testing            ();
use Testing::Developer qw(needs);

my $NATIVE = 'auto/EventSource/XS';

# The folders in which tests have compiled the dependencies of each crate, by that crate.
my %COMPILED = ('.' => 'target/debug', 'hub_process' => 'hub_process/target/debug');

# Public methods

# Returns the previous release and the current one.
sub both_or_skip_all {
    my $class = shift;
    Testing->need('named_hubs');
    my ($tarball, @more) = glob 't/data/releases/*.tar.xz';
    needs('there is no fixture of the previous release here')  if !defined $tarball;
    croak 'Release: t/data/releases has more than one release' if @more;
    needs('there is no xz here')                               if system('xz --version >/dev/null 2>&1');
    needs("the program of the previous release needs cargo 1.85 or newer here") if !_has_cargo();
    return ($class->_of_tarball($tarball), $class->_current);
}

# The environment of a process that uses this release. More may be given.
sub env {
    my ($self, %more) = @_;
    my $libs = join $Config{path_sep}, @{$self->{libs}}, File::Spec->rel2abs('t/lib');
    return {PERL5LIB => $libs, RELEASE => $self->{name}, %more};
}

# The path of its hub program.
sub program {
    my $self = shift;
    my ($program) = grep { -x } map { "$_/$NATIVE/eventsource-hub" } @{$self->{libs}};
    return $program;
}

# Runs a piece of Perl that uses it.
sub perl {
    my ($self, $env, $code) = @_;
    return $self->_run($env, $^X, '-e', $code);
}

# Runs its command line.
sub run {
    my ($self, $env, @arguments) = @_;
    return $self->_run($env, $self->_command(@arguments));
}

# Private functions and methods

# Builds the sources in a folder. Only one test does that.
sub _build {
    my ($tarball, $folder) = @_;
    my $home = File::Spec->rel2abs('target/releases');
    make_path($home);
    open my $lock, '>>', "$home/lock" or croak "Release: $home/lock: $!";
    flock $lock, LOCK_EX or croak "Release: $home/lock: $!";
    my $built = join '-', 'built', Digest::SHA->new(256)->addfile($tarball)->hexdigest, @Config{qw(version archname)};
    return if -e "$folder/$built";
    remove_tree(grep { -d } glob "$home/*");
    _must("tar -xJf '$tarball' -C '$home'");
    _take_compiled("$COMPILED{$_}", "$folder/$_/target/debug") for sort keys %COMPILED;
    _must("cd '$folder' && '$^X' script/build --profile dev arch/$NATIVE library program >build.log 2>&1",
        "$folder/build.log");
    open my $mark, '>', "$folder/$built" or croak "Release: $folder/$built: $!";
    return;
}

sub _command {
    my ($self, @arguments) = @_;
    return ($^X, $self->{command}, @arguments);
}

sub _current {
    my $class = shift;
    my @libs  = map { File::Spec->rel2abs($_) } 'blib/lib', 'blib/arch';
    return bless {name => 'current', libs => \@libs, command => File::Spec->rel2abs('bin/eventsource')}, $class;
}

sub _has_cargo {
    my ($minor) = (qx{cargo --version 2>&1} // '') =~ /^cargo 1[.]([0-9]+)/;
    return ($minor // 0) >= 85;
}

sub _must {
    my ($command, $log) = @_;
    return if system($command) == 0;
    system 'tail', '-n', 40, $log if defined $log;
    croak "Release: failed: $command";
}

sub _of_tarball {
    my ($class, $tarball) = @_;
    my $folder = File::Spec->rel2abs('target/releases/' . basename($tarball, '.tar.xz'));
    _build($tarball, $folder);
    return bless {name => 'previous', libs => ["$folder/perl", "$folder/arch"], command => "$folder/bin/eventsource"},
        $class;
}

# Copies what cargo has compiled, with its times: then it compiles none of that again. Files of the crates themselves, and
# programs, are left out.
sub _take_compiled {
    my ($from, $to) = @_;
    return if !-d "$from/deps";
    make_path("$to/deps", "$to/build", "$to/.fingerprint");
    my $is_foreign = q{! -name '*eventsource*'};
    _must("find $from/$_ -mindepth 1 -maxdepth 1 $is_foreign -exec cp -a -t '$to/$_' {} +") for qw(build .fingerprint);
    _must(    "find $from/deps -type f $is_foreign '(' -name '*.r*' -o -name '*.so' -o -name '*.d' ')' "
            . "-exec cp -a -t '$to/deps' {} +");
    return;
}

sub _run {
    my ($self, $env, @command) = @_;
    my ($out, $err) = map { File::Temp->new } 1, 2;
    local %ENV = (%ENV, %{$self->env(%$env)});
    open my $in, '<', File::Spec->devnull or croak "Release: $!";
    my $pid = open3('<&' . fileno $in, '>&' . fileno $out, '>&' . fileno $err, @command);
    waitpid $pid, 0;
    return {code => $? >> 8, out => _text($out), err => _text($err)};
}

sub _text {
    my $file = shift;
    open my $in, '<', $file->filename or croak "Release: $!";
    local $/ = undef;
    return scalar(readline $in) // '';
}

1;
