# One concept has one name: no file uses another name for what the glossary calls a hub process or a named hub.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(distribution_files slurp);

my %NOT = (
    'hub process' =>
        qr/process(?:es)? of (?:a|the|this|that) hub\b(?!'s)|hub's process|hub (?:in|with) a process of its own/i,
    'named hub' => qr/\bhubs? (?:with a name|that ha(?:s|ve) a name)\b/i,
);

for my $file (grep { !m{\A(?:bench/record/|t/data/|xt/words)|[.]lock\z} && -T } distribution_files()) {
    my $text = slurp($file) =~ s{\n[ \t]*(?:#+|//[/!]?)?[ \t]*}{ }gr;
    for my $name (sort keys %NOT) {
        fail "$file: $1, not $name" if $text =~ /($NOT{$name})/;
    }
}
pass 'all files are read';

done_testing;
