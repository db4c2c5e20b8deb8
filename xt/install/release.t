# script/release finds what is not ready for a release, sets the version, and accepts a copy that is ready.

use lib 't/lib';
use Testing;
use ExtUtils::MakeMaker ();
use Testing::Developer  qw(needs_command);
use Testing::SourceTree qw(slurp);

needs_command($_) for qw(cargo cmp git make tar gzip);

my $tree = Testing::SourceTree->new('release');
my %GIT  = map { ("GIT_$_\_NAME" => 'Test', "GIT_$_\_EMAIL" => 'test@localhost') } qw(AUTHOR COMMITTER);

my @REPOSITORY = qw(Makefile.PL Cargo.toml hub_process/Cargo.toml share/package.json debian/control);
my @MAINTAINER = qw(Makefile.PL share/package.json SECURITY.md debian/control debian/changelog);

sub commit {
    $tree->must('git', 'add', '--all');
    $tree->must(\%GIT, qw(git commit --quiet --message commit));
    return;
}

sub edit {
    my ($file, $code) = @_;
    $tree->must($^X, '-pi', '-e', $code, $file);
    return;
}

# The checks without a compiler. Returns the output, the status and what has been found of each step.
sub checked {
    my $run     = $tree->run('script/release', 'static');
    my ($after) = $run->{output} =~ /^== summary of script\/release[^\n]*\n(.*)/ms;
    my %verdict = reverse(($after // '') =~ /^(\w+|NOT RUN)(?: +(?:\d+|-) s){2}  (.+)$/mg);
    return ($run->{output}, $run->{status}, \%verdict);
}

$tree->must(qw(git init --quiet));
edit('Changes', '$done ||= s/^\d\S*  \K.*/unreleased/');
commit();

subtest 'what is not ready is refused' => sub {
    my $version = MM->parse_version($tree->folder . '/perl/EventSource/XS.pm');
    edit('hub_process/Cargo.lock', 's/"\d.*"/"9.9.9"/ if $hub; $hub = /^name = "eventsource-hub"/');
    $tree->must(\%GIT, 'git', 'tag', "v$version");
    commit();
    edit('README.md', 's/^/# /');
    my ($output, $status, $verdict) = checked();
    isnt $status, 0, 'script/release fails';
    is_deeply $verdict,
        {
        'a clean work tree'       => 'FAILED',
        'names and links'         => 'FAILED',
        'one version everywhere'  => 'FAILED',
        'a version without a tag' => 'FAILED',
        'Changes has the date'    => 'FAILED',
        'make dist, twice'        => 'NOT RUN',
        },
        'each check fails'
        or diag $output;
    like $output, qr{^ M README\.md$}m,                              'the changed file is named';
    like $output, qr{hub_process/Cargo\.lock has the version of},    'the file with another version is named';
    like $output, qr{Write the date of the release: \Q$version\E  }, 'the missing date is named';
    like $output, qr{^MISSING +repository +\Q$_\E$}m,                "$_ names no repository" for @REPOSITORY;
    like $output, qr{^MISSING +maintainer +\Q$_\E$}m,                "$_ names no address"    for @MAINTAINER;
    like $output, qr{script/release repository https://HOST/NAME.*script/release maintainer 'NAME <ADDRESS>'}s,
        'the remedies are named';
};

subtest 'a tree that is ready is accepted' => sub {
    $tree->must(qw(git checkout --quiet -- README.md));
    $tree->must(qw(script/release version 9.012));
    is(MM->parse_version($tree->folder . '/perl/EventSource/XS.pm'), '9.012', 'the version is set');
    edit('Changes', 's/^(9\.012)  unreleased$/$1  2026-01-31/');
    isnt $tree->run('script/release', repository => $_)->{status}, 0, "no address of a repository: $_"
        for 'nowhere', q{https://example.org/a'b}, 'https://example.org/x.git', 'https://example.org/x/',
        "https://a/b\nc";
    isnt $tree->run('script/release', maintainer => $_)->{status}, 0, "no address of a person: $_"
        for 'Ann', q{Ann "A" <a@x.org>}, 'A}B <a@x.org>', "A\nB <a\@x.org>", 'A <@>';
    for my $turn (1, 2) {
        $tree->must('script/release', repository => "https://example.org/$turn/x");
        $tree->must('script/release', maintainer => "Ann O'Hara <ann\@$turn.example.org>");
    }
    like slurp($tree->folder . "/$_"), qr{https://example[.]org/2/x(?!.*https://example[.]org/1)}s,
        "$_ names the repository"
        for @REPOSITORY;
    like slurp($tree->folder . "/$_"), qr{Ann O'Hara <ann\@2[.]example[.]org>}, "$_ names the maintainer"
        for @MAINTAINER;
    commit();
    my ($output, $status, $verdict) = checked();
    is $status, 0, 'script/release passes' or diag $output;
    is_deeply [grep { $verdict->{$_} ne 'ok' } sort keys %$verdict], [], 'each check passes';
    ok -s $tree->folder . '/target/dist/EventSource-XS-9.012.tar.gz', 'the tarball is kept';
    like slurp($tree->folder . '/target/dist/EventSource-XS-9.012.cdx.json'), qr/"CycloneDX".*"9[.]012"/s,
        'the SBOM is beside it';
    like $tree->must('sh', '-c', 'cd target/dist && sha256sum --check SHA256SUMS'), qr/cdx[.]json: OK.*tar[.]gz: OK/s,
        'with the checksums of both';
};

subtest 'a release is signed' => sub {
    needs_command('gpg');
    my %gpg = (GNUPGHOME => $tree->fresh('gnupg'));
    chmod 0700, $gpg{GNUPGHOME} or die "$gpg{GNUPGHOME}: $!\n";
    isnt $tree->run(\%gpg, qw(script/release sign))->{status}, 0, 'without a key it fails';
    $tree->must(\%gpg, qw(gpg --batch --passphrase), '', '--quick-generate-key', 'Test <test@localhost>');
    $tree->must(\%gpg, qw(script/release sign));
    for my $file ('EventSource-XS-9.012.tar.gz', 'SHA256SUMS') {
        like $tree->must(\%gpg, 'gpg', '--verify', map { "target/dist/$file$_" } '.asc', ''), qr/Good signature/,
            "the signature of $file";
    }
    $tree->must(\%gpg, qw(gpgconf --kill all));
};

subtest 'the next version begins an entry of its own' => sub {
    $tree->must(qw(script/release version 9.013));
    my $changes = slurp($tree->folder . '/Changes');
    like $changes, qr/^9\.013  unreleased\n\n9\.012  2026-01-31\n/m, 'Changes has both versions';
    is $tree->run(qw(script/release version 9.1))->{status} >> 8, 2,        'a version with one decimal is refused';
    is slurp($tree->folder . '/Changes'),                         $changes, 'which changes nothing';
};

done_testing;
