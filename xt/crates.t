# The crates that are compiled in: their licences allow it, all come from one registry, and which are there twice is known.

use lib 't/lib';
use Testing;
use JSON::PP           ();
use Testing::Developer qw(has_command needs);

# Licences that ask for no more than their text, and that of the distribution.
my %IS_ALLOWED = map { ($_ => 1) } (
    '0BSD', 'Apache-2.0', 'Artistic-1.0-Perl', 'BSD-2-Clause', 'BSD-3-Clause', 'BSL-1.0',
    'ISC',  'MIT',        'Unicode-3.0',       'Unlicense',    'Zlib',
);

# Crates that are there in two versions.
my %TWICE = ('Cargo.toml' => [], 'hub_process/Cargo.toml' => []);

needs('cargo is not installed') if !has_command('cargo');

# Evaluates an expression of SPDX: an old slash is OR, an exception is part of the licence.
sub is_allowed {
    my $expression = shift =~ s{/}{ OR }gr =~ s/ WITH \S+//gr;
    my $licence    = qr/[A-Za-z0-9.+-]+/;
    1 while $expression =~ s/\(\s*([^()]+?)\s*\)/is_allowed($1) ? '0BSD' : 'none'/e;
    for my $choice (split / OR /, $expression) {
        my @all = split / AND /, $choice;
        return 1 if @all == grep { /\A$licence\z/ && $IS_ALLOWED{$_} } @all;
    }
    return 0;
}

ok is_allowed($_), "allowed: $_" for 'MIT/Apache-2.0', '(GPL-3.0 OR MIT) AND Unicode-3.0', 'GPL-2.0 OR Zlib';
ok !is_allowed($_), "not allowed: $_" for 'GPL-3.0', 'MIT AND GPL-3.0', '(MIT OR Zlib) AND AGPL-3.0', '';

local $ENV{CARGO_NET_OFFLINE} = 'true';
my $printed = qx{$^X script/inventory crates};
is $?, 0, 'script/inventory knows the crates' or BAIL_OUT('no crates');
my @crates = @{JSON::PP::decode_json($printed)};
is_deeply [map { "$_->{name}: $_->{licence}" } grep { !is_allowed($_->{licence}) } @crates], [],
    'all licences are allowed';
for my $manifest (sort keys %TWICE) {
    my @parts = grep {
        grep { $_ eq $manifest }
            @{$_->{parts}}
    } @crates;
    cmp_ok scalar @parts, '>', 20, "$manifest: its crates";
    my %count;
    $count{$_->{name}}++ for @parts;
    is_deeply [grep { $count{$_} > 1 } sort keys %count], $TWICE{$manifest},
        "$manifest: which crates are there twice is known";
}

my @foreign  = grep { defined $_->{source} } @crates;
my %registry = map  { ($_->{source} => 1) } @foreign;
is scalar keys %registry, 1, 'all crates come from one registry';
like((keys %registry)[0], qr/\Aregistry\+/, 'and none from a repository');
is_deeply [grep { !defined $_->{checksum} } @foreign], [], 'the lock files have the checksum of each';

done_testing;
