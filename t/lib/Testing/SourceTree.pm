package Testing::SourceTree;
use strict;
use warnings;

# A copy of the distribution's files, to build and to install from. All copies are in one folder under cargo target
# folder, which one test uses at a time, and share what cargo has compiled: a dependency is compiled once for all tests.
#
#     my $tree = Testing::SourceTree->new;
#     my $made = $tree->run({CC => 'gcc'}, 'make', '-j4');      # {output => ..., status => ...}
#     $tree->must('make');                                      # dies if that fails; returns its output

use Cwd            qw(getcwd);
use Exporter       qw(import);
use Fcntl          qw(LOCK_EX);
use File::Basename qw(dirname);
use File::Copy     ();
use File::Find     qw(find);
use File::Path     qw(make_path remove_tree);
use File::Spec     ();
use Test::More     ();

our @EXPORT_OK = qw(distribution_files slurp write_file);

# Variables that an outer make or prove sets, and those that change what is built and where things are installed.
my @FOREIGN = qw(
    CARGO_BUILD_TARGET_DIR EVENTSOURCE_XS_FULL EVENTSOURCE_XS_PROFILE HARNESS_ACTIVE HARNESS_OPTIONS HARNESS_PERL_SWITCHES
    MAKEFLAGS MAKELEVEL MFLAGS PERL PERL5LIB PERL5OPT PERL_DL_NONLAZY PERL_LOCAL_LIB_ROOT PERL_MB_OPT PERL_MM_OPT
);

# Without flags that name the folder of a copy: else each copy compiles the dependencies anew.
my %ENVIRONMENT = (
    CARGO_ENCODED_RUSTFLAGS         => '',
    CARGO_PROFILE_RELEASE_LTO       => 'off',
    CARGO_PROFILE_RELEASE_OPT_LEVEL => '0',
    LC_ALL                          => 'C',
    PERL_MM_USE_DEFAULT             => 1,
);

my ($ROOT, $HOME, $LOCK);

sub new {
    my ($class, $name) = @_;
    $ROOT //= getcwd();
    $HOME //= _claim();
    my $self = bless {folder => "$HOME/" . ($name // 'tree')}, $class;
    remove_tree($self->{folder});
    for my $file (distribution_files()) {
        make_path(dirname("$self->{folder}/$file"));
        _copy("$ROOT/$file", "$self->{folder}/$file");
    }
    return $self;
}

# The folder of what cargo has compiled for all copies.
sub compiled { return _target() . '/release' }

sub files {
    my $self = shift;
    my @files;
    my $wanted = sub { push @files, File::Spec->abs2rel($_, $self->{folder}) if !-d };
    find({no_chdir => 1, wanted => $wanted}, $self->{folder});
    @files = sort @files;
    return @files;
}

sub folder { return $_[0]{folder} }

# Returns an empty folder beside the copies.
sub fresh {
    my ($self, $name) = @_;
    remove_tree("$HOME/$name");
    make_path("$HOME/$name");
    return "$HOME/$name";
}

# Lets the next test have the folder. No copy is used after that.
sub leave {
    undef $HOME;
    close $LOCK or die "lock: $!\n";
    return;
}

sub must {
    my ($self, @command) = @_;
    my $result = $self->run(@command);
    return $result->{output} if $result->{status} == 0;
    @command = grep { !ref } @command;
    Test::More::diag($result->{output});
    die "@command: status $result->{status}\n";
}

sub run {
    my ($self, @command) = @_;
    my $environment = ref $command[0] ? shift @command : {};
    local %ENV = (%ENV, %ENVIRONMENT, CARGO_TARGET_DIR => _target(), %$environment);
    delete @ENV{grep { !exists $environment->{$_} } @FOREIGN};
    delete @ENV{grep { !defined $ENV{$_} } keys %ENV};
    open my $from, '-|', _shell("cd '$self->{folder}' && exec \"\$\@\" 2>&1 </dev/null", @command)
        or die "@command: $!\n";
    my $output = do { local $/; <$from> };
    close $from or $! and die "@command: $!\n";
    return {output => $output // '', status => $?};
}

# Unpacks a tarball into a folder beside the copies. Returns it as a SourceTree.
sub unpacked {
    my ($self, $tarball, $name) = @_;
    my $folder = $self->fresh($name);
    my $other  = bless {folder => $folder}, ref $self;
    $other->must('tar', '-xzf', $tarball, '--strip-components=1');
    return $other;
}

# Returns the files that git tracks or would track, or those of MANIFEST; paths from the top.
sub distribution_files {
    my @command = -e '.git' ? qw(git ls-files -co --exclude-standard) : _shell(q{sed 's/[ \t].*//' MANIFEST});
    open my $from, '-|', @command or die "$command[0]: $!\n";
    chomp(my @files = <$from>);
    close $from or die "$command[0] failed\n";
    return grep { -f } @files;
}

# Returns the bytes of a file, or with a layer such as ':encoding(UTF-8)' its characters.
sub slurp {
    my ($file, $layer) = @_;
    open my $from, '<' . ($layer // ':raw'), $file or die "$file: $!\n";
    local $/;
    return scalar <$from>;
}

# Writes a text into a new file, or in the place of the one there. Returns its path.
sub write_file {
    my ($path, $text) = @_;
    open my $to, '>', $path or die "$path: $!\n";
    print {$to} $text;
    close $to or die "$path: $!\n";
    return $path;
}

sub _claim {
    my $target = File::Spec->rel2abs($ENV{CARGO_TARGET_DIR} // 'target', $ROOT);
    make_path("$target/install");
    open $LOCK, '>', "$target/install/lock" or die "$target/install/lock: $!\n";
    flock $LOCK, LOCK_EX or die "flock: $!\n";
    return "$target/install";
}

# Copies times and permissions too: make and cargo depend on them.
sub _copy {
    my ($from, $to) = @_;
    my @stat = stat $from;
    File::Copy::copy($from, $to) or die "$to: $!\n";
    chmod $stat[2] & oct 777, $to or die "$to: $!\n";
    utime $stat[8], $stat[9], $to or die "$to: $!\n";
    return;
}

# Whatever the name of the folder has, make finds in it what cargo has built.
sub _target { return "$HOME/cargo target" }

sub _shell {
    my ($script, @arguments) = @_;
    return ('/bin/sh', '-c', $script, 'sh', @arguments);
}

1;
