package Testing::Clients::Install;
use Testing;

# Installs the clients of xt/clients in the pinned versions, once, into target/clients. Nothing else of the tests needs
# them, and nothing is installed where they cannot be fetched.
#
#   my $trouble = Testing::Clients::Install->missing('node');
#   my $modules = Testing::Clients::Install->path('node');

use Carp                qw(croak);
use Digest::MD5         ();
use Fcntl               qw(LOCK_EX);
use File::Copy          qw(copy);
use File::Path          qw(make_path remove_tree);
use File::Spec          ();
use Testing::Developer  qw(has_command network_missing);
use Testing::Node       qw(install_options);
use Testing::SourceTree qw(write_file);

my $FOLDER = 'target/clients';

# What a manager of packages prints if there is no network, or no registry on it.
my $NO_REGISTRY = qr{
    ENOTFOUND | ECONNREFUSED | ECONNRESET | ETIMEDOUT | EAI_AGAIN | E40[13] | ERR_SOCKET | network\ (?:is\ )?unreachable
    | NewConnectionError | ReadTimeout | ProxyError | No\ matching\ distribution
    | [Cc]ould\ not\ resolve | [Cc]ouldn't\ resolve | failed\ to\ (?:get|download|connect) | timed\ out | spurious\ network
    | requires\ rustc
}x;

# For each ecosystem: the programs that install it, the files that pin the versions, its commands in the folder, and the
# path of the result.
my %INSTALL = (
    node => {
        programs => ['node', 'npm'],
        pins     => ['package.json'],
        commands => [['npm', install_options('t/clients'), '--fetch-retries=1']],
        path     => 'node_modules',
    },
    python => {
        programs => ['python3'],
        pins     => ['requirements.txt'],
        commands => [
            [qw(python3 -m venv venv)],
            [qw(venv/bin/python -m pip install --quiet --retries 1 --no-deps -r requirements.txt)]
        ],
        path => 'venv/bin/python',
    },
    datastar => {
        programs => ['python3'],
        pins     => ['datastar.txt'],
        commands => [
            [qw(python3 -m venv venv)],
            [
                qw(venv/bin/python -m pip install --quiet --retries 1 --no-deps --only-binary :all: --ignore-requires-python),
                qw(--target files -r datastar.txt)
            ]
        ],
        path => 'files/starhtml/static/js',
    },
    rust => {
        programs => ['cargo'],
        pins     => ['rust/Cargo.toml', 'rust/src/main.rs'],
        commands => [[qw(cargo build --quiet --manifest-path rust/Cargo.toml --target-dir build)]],
        path     => 'build/debug/clients',
    },
);

my %MISSING;    # the trouble of each ecosystem, undef for none

# Class methods

# Why the clients of an ecosystem cannot run here; undef if they can. The first call installs them.
sub missing {
    my ($class, $name) = @_;
    $MISSING{$name} = _missing($name) if !exists $MISSING{$name};
    return $MISSING{$name};
}

# The absolute path of npm's packages, of Python, of the folder with Datastar, or of the program with the Rust clients.
sub path { return File::Spec->rel2abs("$FOLDER/$_[1]/$INSTALL{$_[1]}{path}") }

# Copies the files that pin the versions, and runs the commands. Returns their output if one fails, otherwise undef.
sub _install {
    my ($name, $folder) = @_;
    my $how = $INSTALL{$name};
    for my $file (@{$how->{pins}}) {
        my ($parent) = "$folder/$file" =~ m{(.*)/};
        make_path($parent);
        copy("t/clients/$file", "$folder/$file") or croak "Install: $file: $!";
    }
    for my $command (@{$how->{commands}}) {
        my $said = _said($folder, @$command);
        return "@$command failed: " . ($said =~ s/\s+/ /gr) if $?;
    }
    return undef;
}

# Two tests at once install one after the other; the second finds what the first has installed. The folder has a file with
# the digest of the pins it was made from.
sub _missing {
    my $name = shift;
    for my $program (@{$INSTALL{$name}{programs}}) {
        return "$program is not installed" if !has_command($program);
    }
    make_path($FOLDER);
    open my $lock, '>', "$FOLDER/$name.lock" or croak "Install: $FOLDER/$name.lock: $!";
    flock $lock, LOCK_EX or croak "Install: flock: $!";
    my $folder = "$FOLDER/$name";
    my $pins   = _pins($name);
    return undef if ($pins eq (_slurp("$folder/installed") // '')) && -e __PACKAGE__->path($name);
    if (my $trouble = network_missing()) { return "the clients of $name are not installed, and $trouble" }
    remove_tree($folder) if $name ne 'rust';    # cargo renews what has changed
    my $trouble = _install($name, $folder);

    if (defined $trouble) {
        croak "Install: $trouble" if $ENV{EVENTSOURCE_XS_FULL} && $trouble !~ $NO_REGISTRY;
        return $trouble;
    }
    write_file("$folder/installed", $pins);
    return undef;
}

# A digest of the files that pin the versions.
sub _pins {
    my $name = shift;
    return Digest::MD5::md5_hex(join '',
        map { _slurp("t/clients/$_") // croak "Install: t/clients/$_: $!" } @{$INSTALL{$name}{pins}});
}

# The output of a command that runs in a folder. $? is its status.
sub _said {
    my ($folder, @command) = @_;
    my $pid = open my $out, '-|';
    croak "Install: fork: $!" if !defined $pid;
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        chdir $folder and exec {$command[0]} @command;
        print "$command[0]: $!\n";
        require POSIX;
        POSIX::_exit(127);
    }
    my $text = do { local $/; readline $out };
    close $out;
    return $text // '';
}

sub _slurp {
    my $path = shift;
    open my $file, '<:raw', $path or return undef;
    local $/;
    return scalar readline $file;
}

1;
