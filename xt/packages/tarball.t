# The tarball of make dist builds, passes its tests and installs on a Debian that has perl, a C compiler, cargo and the
# prerequisites, but no git, in a network namespace without a network: by hand and with cpanm, with the oldest cargo and with
# the one that builds eventsource-hub.

use lib 't/lib';
use Testing            qw(Chroot);
use File::Copy         qw(copy);
use Testing::Developer qw(needs_command);
use Testing::SourceTree;

needs_command($_) for qw(cargo make tar gzip);

my $tree = Testing::SourceTree->new;
$tree->must($^X,    'Makefile.PL');
$tree->must('make', 'dist');
my ($tarball) = glob $tree->folder . '/EventSource-XS-*.tar.gz';
ok $tarball, 'make dist writes a tarball' or BAIL_OUT('no tarball');

my $debian = Testing::Chroot->start(qw(cargo cpanminus gcc iproute2 libc6-dev libjson-maybexs-perl libperl-dev),
    qw(libplack-perl libstream-buffered-perl make perl));
copy($tarball, $debian->folder . '/tmp/tarball.tar.gz') or die "$tarball: $!\n";
Testing::SourceTree->leave;

# Runs a script of the shell where only 127.0.0.1 is reached.
sub offline {
    my $script = shift;
    my ($status, $said) = $debian->run(
        qw(env --chdir=/tmp EVENTSOURCE_XS_PROFILE=demo AUTOMATED_TESTING=1 NO_NETWORK_TESTING=1 unshare --net sh -ec),
        "ip link set lo up; $script"
    );
    is $status, 0, $script or diag substr $said, -3000;
    return $said;
}

sub loads {
    my $folder  = shift;
    my $has_hub = offline('cargo --version') =~ /\Acargo 1[.](\d+)/ && $1 >= 85;
    my $loads   = 'use EventSource::Hub::Process; use EventSource::XS "format_event"; print format_event(data => 7);'
        . 'print eval { EventSource::Hub::Process->program } // ""';
    like offline("perl -Mlib=$folder/lib/perl5 -e '$loads'"),
        $has_hub ? qr{\Adata: 7\n\n$folder/\S+/eventsource-hub\z} : qr/\Adata: 7\n\n\z/, 'what it has installed loads';
    return;
}

isnt + ($debian->run('which', $_))[0], 0, "there is no $_" for qw(git pkg-config);
subtest 'by hand, with the oldest cargo' => sub {
    offline('tar -xzf tarball.tar.gz && mv EventSource-XS-* unpacked');
    offline('cd unpacked && perl Makefile.PL INSTALL_BASE=/tmp/by_hand && make');
    like offline('cd unpacked && make test'), qr/^Result: PASS$/m, 'the tests pass';
    offline('cd unpacked && make install');
    loads('/tmp/by_hand');
};

# In Debian 12 cargo-web is the newer one.
$debian->must('apt-get', 'update');
$debian->run(qw(apt-get install -y --no-install-recommends cargo-web));

subtest 'with cpanm, which runs the tests, and the newest cargo' => sub {
    my $said = offline('cpanm --mirror file:///none --mirror-only -l /tmp/with_cpanm /tmp/tarball.tar.gz');
    like $said, qr/^Successfully installed EventSource-XS/m, 'cpanm installs it';
    loads('/tmp/with_cpanm');
};

done_testing;
