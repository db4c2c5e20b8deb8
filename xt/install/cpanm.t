# cpanm installs from the folder and from the tarball, and cpan from the folder, without a network.

use lib 't/lib';
use Testing;
use Data::Dumper        ();
use File::Path          qw(make_path remove_tree);
use IO::Compress::Gzip  qw(gzip);
use Testing::Developer  qw(has_command needs_command);
use Testing::SourceTree qw(write_file);

needs_command($_) for qw(cargo cpan cpanm make);

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

# Where the modules go is a folder without a blank in its name: MakeMaker splits INSTALL_BASE.
sub installs {
    my $what  = shift;
    my $into  = new_folder;
    my @cpanm = ('cpanm', '--mirror', 'file:///nonexistent', '--mirror-only', '--notest', '-l', "$into");
    like $tree->must(\%NO_NETWORK, @cpanm, $what), qr/Successfully installed EventSource-XS/,
        'cpanm installs the distribution';
    loads($into);
    return;
}

sub loads {
    my $into    = shift;
    my @scripts = glob "'$into/lib/perl5'/{,*/}auto/share/dist/EventSource-XS/eventsource-hub.js";
    is grep({ -s } @scripts), 1, 'the script of browsers is installed';
    is $tree->must($^X, "-Mlib=$into/lib/perl5", '-e', $LOADS) =~ s{\Q$into\E/lib/perl5/[^/]+}{}r,
        "data: 7\n\n/EventSource/XS.pm", 'the installed module loads';
    return;
}

subtest 'cpanm installs from the tarball without a network' => sub {
    $tree->must($^X,    'Makefile.PL');
    $tree->must('make', 'dist');
    installs(glob '"' . $tree->folder . '/EventSource-XS-*.tar.gz"');
};

# The others without eventsource-hub, which is built in the same way each time.
$tree = Testing::SourceTree->new;
remove_tree($tree->folder . '/hub_process');

subtest 'cpanm installs from the folder without a network' => sub {
    installs('.');
};

# cpanm itself prints nothing between the beginning of a build and its end.
subtest 'cpanm says on a terminal how far the build is' => sub {
    plan skip_all => 'there is no script here' if !has_command('script');
    my $into = new_folder;
    my $slow = $tree->fresh('slow') . '/cargo';
    write_file($slow, qq{#!/bin/sh\n[ "\$1" != build ] || sleep 3\nexec cargo "\$@"\n});
    chmod 0755, $slow;
    $tree->must('touch', 'script/build');    # make builds the library again, cargo has it
    my $command = "cpanm --mirror file:///nonexistent --mirror-only --notest -l $into .";
    my $shown   = $tree->must({%NO_NETWORK, CARGO => $slow}, 'script', '-q', '-e', '-c', $command, '/dev/null');
    like $shown, qr/^EventSource-XS: cargo compiles the library/m, 'the terminal is told what takes so long';
    like $shown, qr/^EventSource-XS: \d+ s: \d+ of [1-9]\d* crates are compiled/m, 'and how far it is';
};

# Writes a mirror without distributions. Returns its folder.
sub mirror {
    my $mirror = $tree->fresh('mirror');
    my @head   = (
        'File: 02packages.details.txt',
        "Description: no packages",
        'Line-Count: 0',
        'Last-Updated: ' . gmtime() . ' GMT'
    );
    my %index = (
        'authors/01mailrc.txt'           => qq{alias NOBODY "Nobody <nobody\@localhost>"\n},
        'modules/02packages.details.txt' => join("\n", @head, '', ''),
        'modules/03modlist.data' => "File: 03modlist.data\n\npackage CPAN::Modulelist;\nsub data { return {} }\n1;\n",
    );
    make_path(map { "$mirror/$_" } qw(authors modules));
    gzip(\$index{$_} => "$mirror/$_.gz") or die "$mirror/$_.gz: not written\n" for sort keys %index;
    return $mirror;
}

# Writes a configuration of cpan. Returns its file.
sub configuration {
    my $into    = shift;
    my $folder  = $tree->fresh('cpan');
    my %setting = (
        build_dir                     => "$folder/build",
        build_requires_install_policy => 'yes',
        connect_to_internet_ok        => 0,
        cpan_home                     => $folder,
        keep_source_where             => "$folder/sources",
        make                          => 'make',
        makepl_arg                    => "INSTALL_BASE=$into",
        prefs_dir                     => "$folder/prefs",
        prerequisites_policy          => 'follow',
        recommends_policy             => 0,
        urllist                       => ['file://' . mirror()],
        use_sqlite                    => 0,
    );
    write_file("$folder/Config.pm", join('', Data::Dumper->new([\%setting], ['CPAN::Config'])->Dump, "1;\n"));
    return "$folder/Config.pm";
}

subtest 'cpan installs from the folder without a network' => sub {
    my $into = new_folder;
    like $tree->must(\%NO_NETWORK, 'cpan', '-j', configuration($into), '-T', '.'), qr/^  \S*make install +-- OK$/m,
        'cpan installs the distribution';
    loads($into);
};

done_testing;
