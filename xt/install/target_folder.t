# make finds the library wherever cargo is configured to put it. Each folder begins with what cargo has compiled already, which
# it compiles again only for a configured target.
# eventsource-hub is found in the same way, and cpanm.t builds it; here it would take a minute for each.

use lib 't/lib';
use Testing;
use Config;
use Testing::Developer  qw(needs_command);
use File::Path          qw(make_path remove_tree);
use Testing::SourceTree qw(write_file);

needs_command($_) for qw(cargo make rustc);

my $tree    = Testing::SourceTree->new;
my $library = $tree->folder . "/blib/arch/auto/EventSource/XS/XS.$Config{dlext}";
my ($host)  = $tree->must('rustc', '-vV') =~ /^host: (\S+)/m;
my $home    = cargo_home();

# A cargo home with the configuration of this test and the registry of the user.
sub cargo_home {
    my $fresh = $tree->fresh('cargo_home');
    my $users = $ENV{CARGO_HOME} // ($ENV{HOME} // '') . '/.cargo';
    for my $part (grep { -e "$users/$_" } qw(registry git)) {
        symlink "$users/$part", "$fresh/$part" or die "symlink: $!\n";
    }
    write_file("$fresh/config.toml", qq{[build]\ntarget = "$host"\ntarget-dir = "$fresh/from_config"\n});
    return $fresh;
}

my $elsewhere = $tree->fresh('else where');
my %ELSEWHERE = (
    'CARGO_TARGET_DIR relative to the sources'        => [{CARGO_TARGET_DIR => 'b'}, $tree->folder . '/b/release'],
    'CARGO_BUILD_TARGET_DIR with a blank in its name' =>
        [{CARGO_BUILD_TARGET_DIR => "$elsewhere/c", CARGO_TARGET_DIR => undef}, "$elsewhere/c/release"],
    "target-dir in cargo's config, and a target that is the host" =>
        [{CARGO_HOME => $home, CARGO_TARGET_DIR => undef}, "$home/from_config/$host/release"],
    'nothing: the folder target' => [{CARGO_TARGET_DIR => undef}, $tree->folder . '/target/release'],
);

remove_tree($tree->folder . '/hub_process');
$tree->must($^X, 'Makefile.PL');
$tree->must('make');
for my $what (sort keys %ELSEWHERE) {
    my ($environment, $folder) = @{$ELSEWHERE{$what}};
    subtest "make finds the library: $what" => sub {
        make_path($folder);
        $tree->must('cp', '-a', $tree->compiled . '/.', $folder);
        remove_tree($library, glob qq("$folder/libeventsource*"));
        $tree->must($environment, 'make');
        ok -e "$folder/libeventsource_xs.$Config{dlext}", 'cargo has used the folder';
        ok -e $library,                                   'make has found the library';
    };
}

done_testing;
