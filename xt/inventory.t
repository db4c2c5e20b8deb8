# The inventory: a valid document of CycloneDX with every crate that is compiled in, and debian/copyright with the licence of
# each.

use lib 't/lib';
use Testing;
use File::Temp qw(tempfile);
use JSON::PP   ();
use Testing::Clients::Install;
use Testing::Developer  qw(needs needs_command);
use Testing::SourceTree qw(slurp);

needs_command($_) for qw(cargo python3);
needs(-e 'MYMETA.json' ? undef : 'there is no MYMETA.json: run perl Makefile.PL first');
needs(Testing::Clients::Install->missing('python'));

sub printed_by { return scalar qx{@_} }

my @crates = @{JSON::PP::decode_json(printed_by("$^X script/inventory crates"))};
my $text   = printed_by("$^X script/inventory sbom");
my $sbom   = JSON::PP::decode_json($text);

# Returns what the library of CycloneDX finds wrong with a document; '' for nothing.
sub mistakes_of {
    my $document = shift;
    my ($to, $file) = tempfile(UNLINK => 1);
    binmode $to;
    print {$to} $document;
    close $to or die "$file: $!\n";
    my $python = Testing::Clients::Install->path('python');
    open my $from, '-|', $python, '-c', <<'PYTHON', $file or die "$python: $!\n";
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
mistake = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
print('valid' if mistake is None else mistake)
PYTHON
    local $/;
    return scalar <$from>;
}

subtest 'the document is valid' => sub {
    is mistakes_of($text), "valid\n", 'a CycloneDX 1.5 document';
    unlike mistakes_of($text =~ s/"library"/"book"/r), qr/\Avalid/,
        'the validator finds a component of an unknown type';
    is printed_by("$^X script/inventory sbom"), $text, 'a second run prints the same';
};

subtest 'each crate is a component with its licence and checksum' => sub {
    my %component = map { ("$_->{name} $_->{version}" => $_) } grep { defined $_->{version} } @{$sbom->{components}};
    cmp_ok scalar @crates, '>', 60, 'there are crates';
    for my $crate (@crates) {
        my $component = $component{"$crate->{name} $crate->{version}"} or fail("$crate->{name} is missing"), next;
        is $component->{licenses}[0]{expression}, $crate->{licence},  "$crate->{name}: its licence";
        is $component->{hashes}[0]{content},      $crate->{checksum}, "$crate->{name}: its checksum";
    }
    my %name = map { ($_->{name} => 1) } @{$sbom->{components}};
    ok $name{$_}, "$_ is a component" for qw(Plack JSON::MaybeXS sqlite3 libzstd);
};

subtest 'each reference of a dependency is a component' => sub {
    my %is_known = map { ($_->{'bom-ref'} => 1) } @{$sbom->{components}}, $sbom->{metadata}{component};
    my @named    = map { ($_->{ref}, @{$_->{dependsOn}}) } @{$sbom->{dependencies}};
    is_deeply [grep { !$is_known{$_} } @named], [], 'no reference points nowhere';
};

subtest 'debian/copyright is complete' => sub {
    my $said = printed_by("$^X script/inventory check 2>&1");
    is $?, 0, 'it is what script/inventory copyright prints' or diag $said;
    my $copyright = slurp('debian/copyright');
    like $copyright, qr{\Q$_->{name}-$_->{version}/*}, "$_->{name} $_->{version}"
        for grep { defined $_->{source} } @crates;
    my %paragraph = map { ($_ => 1) } $copyright =~ /^License: (\S+)\n /mg;
    my %named     = map { ($_ => 1) } map { split /,? (?:and|or) / } $copyright =~ /^License: (.+)\n\n/mg;
    is_deeply [grep { !$paragraph{$_} } sort keys %named], [], 'each licence has its text';
    my ($isc) = $copyright =~ /^License: ISC\n (.+?)\n\n/ms;
    like $isc, qr/above\n copyright notice and this/, 'a text keeps its lines that begin with "copyright"';
    like $copyright, qr{\Q/zstd/*\E\nCopyright: Meta [^:]+\nLicense: BSD-3-Clause or GPL-2\n},
        'a part of a crate has its own licence';
};

done_testing;
