# ARCHITECTURE.md is a map: it has at most 380 lines, and each file and function that it names exists.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(distribution_files slurp);

my $MOST_LINES = 400;

my @lines = split /\n/, slurp('ARCHITECTURE.md');
my @files = distribution_files();
cmp_ok @lines, '<=', $MOST_LINES, "ARCHITECTURE.md has at most $MOST_LINES lines";

# Returns the files whose path ends in what the text says.
sub files_named {
    my $path = shift;
    return grep { $_ eq $path || m{/\Q$path\E\z} } @files;
}

# Paths: what has a known ending, and what begins with a folder of the tree.
my %paths;
for my $line (@lines) {
    $paths{$_}++ for $line =~ m{(?<![\w/.])((?:[\w.-]+/)*[\w-]+[.](?:rs|pm|pod|t|h|xs|toml))\b}g;
    $paths{$_}++
        for $line =~
        m{(?<![\w/.])((?:src|hub_process|perl|t|xt|fuzz|loom|script|bench|benches|tests|examples|share)/[\w/]*)(?![\w.-])}g;
}
for my $path (sort keys %paths) {
    my $exists = -e $path || files_named($path) || grep { m{(?:\A|/)\Q$path\E} } @files;
    ok $exists, "$path exists";
}

# The flows: names of functions, then the file that has them.
sub has_function {
    my ($file, $name) = @_;
    return slurp($file) =~
        /\b(?:sub|fn|static\s.*?|struct|macro_rules!)\s*\*?\Q$name\E\b|^\s*\Q$name\E\(|->\Q$name\E\b/m;
}

my $flows = 0;
for my $line (@lines) {
    my ($names, $file) = $line =~ /\A {4}(\S[^(]*?) {2,}((?:src|hub_process|perl)\S+[.](?:rs|pm|h|xs))\b/ or next;
    next if $names =~ m{[/.]};
    $flows++;
    for my $name (split /,\s*/, $names) { ok has_function($file, $name), "$file has $name" }
}
cmp_ok $flows, '>=', 30, 'the flows are checked';

done_testing;
