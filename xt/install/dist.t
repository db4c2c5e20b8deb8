# The tarball has everything for building, testing and reading, and nothing else.

use lib 't/lib';
use Testing;
use CPAN::Meta          ();
use Testing::Developer  qw(needs_command needs_module);
use File::Basename      qw(dirname);
use File::Path          qw(make_path);
use Module::CoreList    ();
use Testing::SourceTree qw(slurp write_file);

needs_command($_) for qw(cargo make tar gzip);

my $tree = Testing::SourceTree->new;
my @ours = $tree->files;

# Files that are left where somebody has worked.
my @JUNK = qw(
    .ci/token .git/config .perltidyrc EventSource-XS-0.001.tar.gz MANIFEST.bak blib/x.pm fuzz/corpus/parse/1 node_modules/a/b.js
    perl/EventSource/XS.pm.bak perl/EventSource/XS.pm~ src/.lib.rs.swp src/lib.rs.rej t/browser/node_modules/a/b.js
    target/release/x.so xt/of_mine.t
);
for my $junk (grep { !-e $tree->folder . "/$_" } @JUNK) {
    my $file = $tree->folder . "/$junk";
    make_path(dirname($file));
    open my $to, '>', $file or die "$file: $!\n";
    close $to;
}

# A MANIFEST of an earlier run, which must be replaced.
write_file($tree->folder . '/MANIFEST', "Makefile.PL\nt/that_is_gone.t\n");

$tree->must($^X,    'Makefile.PL');
$tree->must('make', 'dist');
my ($tarball) = grep { !/0\.001/ } glob '"' . $tree->folder . '/EventSource-XS-*.tar.gz"';
ok $tarball, 'make dist creates a tarball' or BAIL_OUT('no tarball');
my $unpacked = $tree->unpacked($tarball, 'unpacked');
my %packed   = map { $_ => 1 } $unpacked->files;

subtest 'the tarball has every file that is needed' => sub {
    ok $packed{$_}, "$_ is in the tarball"
        for qw(Cargo.lock Cargo.toml LICENSE MANIFEST META.json META.yml Makefile.PL SECURITY.md build.rs
        script/build);
    ok $packed{$_}, "$_ is in the tarball"
        for grep { m{^(?:src|bin|debian|perl|t|benches|examples|script|share)/} } @ours;
};

subtest 'the tarball has no other file' => sub {
    my %known = map { $_ => 1 } @ours, qw(.cargo/config.toml MANIFEST META.json META.yml);
    is_deeply [grep { !$known{$_} && !m{^vendor/} } sort keys %packed],    [], 'every file belongs to the distribution';
    is_deeply [grep { m{^(?:[.](?!cargo)|xt/|fuzz/)} } sort keys %packed], [], 'no file is for a checkout only';
};

subtest 'the manuals in the tarball have the files that they quote' => sub {
    for my $name (qw(Cookbook Deployment Migration Monitoring Services)) {
        my ($packed, $ours) = map { slurp($_->folder . "/perl/EventSource/$name.pod") } $unpacked, $tree;
        unlike $packed, qr{^    # examples/}m, "$name: no name of a file stands in its place";
        like $ours,     qr{^    # examples/}m, "$name: the one in the checkout is as it was";
    }
};

# Extra metrics of CPANTS that the tarball does not meet.
my %NOT_MET = (
    meta_yml_has_repository_resource => 'Makefile.PL names no repository',
    proper_libs                      => 'perl/ is beside src/, and lib/ would not say which language it is for',
);

subtest 'the tarball has the quality that CPANTS looks for' => sub {
    needs_module('Module::CPANTS::Analyse');
    Module::CPANTS::Analyse->import;    # loads its metrics
    my $analysis = Module::CPANTS::Analyse->new({dist => $tarball});
    my $found    = $analysis->run->{kwalitee};
    my @metrics  = map { @{$_->kwalitee_indicators} } @{$analysis->mck->generators};
    cmp_ok scalar @metrics, '>', 30, 'there are metrics';
    for my $metric (@metrics) {
        my $name = $metric->{name};
        if ($NOT_MET{$name}) { is $found->{$name} // 0, 0, "$name is not met: $NOT_MET{$name}" }
        else                 { is $found->{$name}, 1, $name or diag $analysis->d->{error}{$name} // $metric->{error} }
    }
};

subtest 'MANIFEST, MANIFEST.SKIP and the files agree' => sub {
    needs_module('Test::DistManifest');
    my $said = $unpacked->must($^X, qw(-MTest::More -MTest::DistManifest -e), 'manifest_ok(); done_testing()');
    like $said, qr/^ok 4 /m, 'Test::DistManifest accepts them';
};

subtest 'META.json lists the prerequisites of each phase' => sub {
    my $meta    = CPAN::Meta->load_file($unpacked->folder . '/META.json');
    my $prereqs = $meta->effective_prereqs;
    my $lists   = sub {
        my $from = $prereqs->requirements_for(@_);
        return sub { defined $from->requirements_for_module(shift) }
    };
    my %listed = (
        'configure requires' => [qw(ExtUtils::MakeMaker ExtUtils::ParseXS JSON::PP)],
        'build requires'     => [qw(ExtUtils::ParseXS JSON::PP)],
        'test requires'      => [qw(Test::More)],
        'runtime requires'   => [qw(Plack perl)],
        'runtime recommends' => [qw(IO::Socket::SSL)],
        'runtime suggests'   => [qw(AnyEvent::HTTP AnyEvent::XMPP)],
        'develop requires'   => [qw(Perl::Critic Starman Test::Pod)],
    );
    for my $phase (sort keys %listed) {
        my $has = $lists->(split ' ', $phase);
        ok $has->($_), "$phase $_" for @{$listed{$phase}};
    }
    my $provided = $meta->provides;
    ok $provided->{'EventSource::Hub'}, 'META.json provides our modules';
    is_deeply [grep { $provided->{$_} || $meta->should_index_package($_) }
            qw(HTTP::ServerEvent Plack::App::EventSource)],
        [], 'but the index is not asked for the names of others';
    my ($library, $program) = map { slurp($_) =~ /^rust-version = "(.+)"/m } qw(Cargo.toml hub_process/Cargo.toml);
    is_deeply $meta->custom('x_rust'), {hub_process => $program, library => $library}, 'x_rust has the oldest versions';
};

# A module that is not on every perl 5.14, and not of a distribution that META lists, would be missing for some users.
subtest 'META.json lists each module that is used' => sub {
    my $all    = CPAN::Meta->load_file($unpacked->folder . '/META.json')->effective_prereqs;
    my %listed = map { $_ => 1 }
        map { $all->requirements_for('runtime', $_)->required_modules } qw(requires recommends suggests);
    my %HOME = (HTTP => 'HTTP::Message', Mojo => 'Mojolicious');
    for my $file (grep { m{^perl/.*[.]pm$} } @ours) {
        my ($code) = split /^__END__$/m, slurp($file);
        for my $module (sort $code =~ /^\s*(?:use|.*\brequire) ([A-Z]\w*(?:::\w+)*)/gm) {
            next
                if $packed{'perl/' . $module =~ s{::}{/}gr . '.pm'}
                || Module::CoreList::is_core($module, undef, '5.014');
            my @parts = split /::/, $module;
            my @homes = map { my $home = join '::', @parts[0 .. $_]; ($home, $HOME{$home} // ()) } 0 .. $#parts;
            ok scalar(grep { $listed{$_} } @homes), "META.json lists $module of $file";
        }
    }
};

subtest 'Makefile.PL accepts the unpacked tarball' => sub {
    my $said = $unpacked->must($^X, 'Makefile.PL');
    like $said,   qr/Writing Makefile/, 'Makefile.PL writes a Makefile';
    unlike $said, qr/missing|warning/i, 'Makefile.PL reports no missing file';
};

# Simulates a user's machine that has only the dependencies of Makefile.PL, none that only the project's tests use.
subtest 'make disttest passes with the module\'s own dependencies alone' => sub {
    my $modules = $tree->fresh('hidden_modules');
    open my $to, '>', "$modules/HideOthers.pm" or die "HideOthers.pm: $!\n";
    print {$to} <<'HIDE';
my $others = qr{^(?:AnyEvent|Cpanel/JSON/XS|EV|Feersum|IO/Async|JSON/XS|Mojo|Net/SSLeay|PPI|Perl/|Plack/Middleware/(?:Deflater|ReverseProxy|Session)|Starlet|Starman|Test/LeakTrace|Test/Pod|Twiggy)\b};
unshift @INC, sub { die "$_[1] is not here\n" if $_[1] =~ $others; return };
1;
HIDE
    close $to;
    my $said = $tree->must({PERL5LIB => $modules, PERL5OPT => '-MHideOthers'}, 'make', 'disttest');
    like $said,   qr/^Result: PASS/m, 'make disttest passes';
    unlike $said, qr{^t/install/}m,   'make disttest leaves out the tests of the installation';
    my ($version) = $tarball =~ /-([0-9.]+)[.]tar/;
    my @built = map { "-IEventSource-XS-$version/blib/$_" } qw(lib arch);
    is $tree->must($^X, @built, qw(-MEventSource::XS -e), 'print EventSource::XS->VERSION'), $version,
        'the module that it has built has the version of the tarball';
};

subtest 'META names the repository as soon as there is one' => sub {
    my $resources = sub { CPAN::Meta->load_file($tree->folder . '/MYMETA.json')->resources };
    is_deeply [keys %{$resources->()}], [], 'META names no resource without one';
    my $named = slurp('Makefile.PL') =~ s{^(my \$REPOSITORY = ')(?=')}{$1https://example.org/x}mr;
    write_file($tree->folder . '/Makefile.PL', $named);
    $tree->must($^X, 'Makefile.PL');
    my %wanted = (type => 'git', url => 'https://example.org/x.git', web => 'https://example.org/x');
    is_deeply $resources->()->{repository}, \%wanted, 'META names the repository';
    is_deeply $resources->()->{bugtracker}, {web => 'https://example.org/x/issues'}, 'META names the issues';
};

done_testing;
