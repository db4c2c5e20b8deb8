# make finds the library wherever cargo is told to put its results.

use strict;
use warnings;

use lib 't/lib';
use Config;
use Testing::Developer qw(needs_command only_developers);
use File::Path         qw(remove_tree);
use Test::More;
use Testing::SourceTree;

only_developers;
needs_command($_) for qw(cargo make rustc);

my $tree = Testing::SourceTree->new;
$tree->must($^X, 'Makefile.PL');
my $library = $tree->folder . "/blib/arch/auto/EventSource/XS/XS.$Config{dlext}";
my $home    = cargo_home();
my ($host)  = $tree->must('rustc', '-vV') =~ /^host: (\S+)/m;

# A home of cargo's whose configuration is this test's and whose registry is the user's.
sub cargo_home {
    my $fresh = $tree->fresh('cargo_home');
    my $users = $ENV{CARGO_HOME} // ($ENV{HOME} // '') . '/.cargo';
    for my $part (grep { -e "$users/$_" } qw(registry git)) {
        symlink "$users/$part", "$fresh/$part" or die "symlink: $!\n";
    }
    open my $to, '>', "$fresh/config.toml" or die "config.toml: $!\n";
    print {$to} qq{[build]\ntarget-dir = "$fresh/from_config"\n};
    close $to;
    return $fresh;
}

my $elsewhere = $tree->fresh('else where');
my %ELSEWHERE = (
    'CARGO_TARGET_DIR with a blank in its name' => [{CARGO_TARGET_DIR => "$elsewhere/a"}, "$elsewhere/a/release"],
    'CARGO_TARGET_DIR relative to the sources'  => [{CARGO_TARGET_DIR => 'b'},            $tree->folder . '/b/release'],
    'CARGO_BUILD_TARGET_DIR'                    =>
        [{CARGO_BUILD_TARGET_DIR => "$elsewhere/c", CARGO_TARGET_DIR => undef}, "$elsewhere/c/release"],
    "target-dir in cargo's config" => [{CARGO_HOME => $home, CARGO_TARGET_DIR => undef}, "$home/from_config/release"],
    'a target named although it is the host' =>
        [{CARGO_BUILD_TARGET => $host, CARGO_TARGET_DIR => "$elsewhere/a"}, "$elsewhere/a/$host/release"],
    'nothing: the folder target' => [{CARGO_TARGET_DIR => undef}, $tree->folder . '/target/release'],
);

for my $what (sort keys %ELSEWHERE) {
    my ($environment, $folder) = @{$ELSEWHERE{$what}};
    subtest "make finds the library with $what" => sub {
        remove_tree($tree->folder . '/blib');
        $tree->must($environment, 'make');
        ok -d $folder,  'cargo writes its results to the named folder';
        ok -e $library, 'make finds the library';
    };
}

done_testing;
