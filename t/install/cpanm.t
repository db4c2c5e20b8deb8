# cpanm installs from the folder and from the tarball, without a network.

use lib 't/lib';
use Testing;
use Testing::Developer qw(needs_command);
use Testing::SourceTree;

needs_command($_) for qw(cargo cpanm make);

my $LOADS = 'use EventSource::XS qw(format_event); print format_event(data => 7), $INC{"EventSource/XS.pm"}';

my $tree = Testing::SourceTree->new;

# No mirror and no registry are reachable. Cargo uses what it has downloaded before.
my %NO_NETWORK = (
    CARGO_NET_OFFLINE => 'true',
    PERL_CPANM_HOME   => $tree->fresh('cpanm'),
    PERL_CPANM_OPT    => undef,
    http_proxy        => 'http://127.0.0.1:9',
    https_proxy       => 'http://127.0.0.1:9',
);

sub installs {
    my $what  = shift;
    my $into  = $tree->fresh('local');
    my @cpanm = ('cpanm', '--mirror', 'file:///nonexistent', '--mirror-only', '--notest', '-l', $into);
    like $tree->must(\%NO_NETWORK, @cpanm, $what), qr/Successfully installed EventSource-XS/,
        'cpanm installs the distribution';
    is $tree->must($^X, "-Mlib=$into/lib/perl5", '-e', $LOADS) =~ s{\Q$into\E/lib/perl5/[^/]+}{}r,
        "data: 7\n\n/EventSource/XS.pm", 'the installed module loads';
    return;
}

subtest 'cpanm installs from the folder without a network' => sub {
    installs('.');
};

subtest 'cpanm installs from the tarball without a network' => sub {
    $tree->must($^X,    'Makefile.PL');
    $tree->must('make', 'dist');
    installs(glob $tree->folder . '/EventSource-XS-*.tar.gz');
};

done_testing;
