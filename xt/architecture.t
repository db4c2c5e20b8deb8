# ARCHITECTURE.md is a map: it has at most 400 lines, and each file and function that it names exists. So do the modules of Perl
# that it, CONTRIBUTING.md and SECURITY.md name, and what the first comment of a module names: in Rust what stands in backticks,
# in Perl files, modules and their functions.

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
    $paths{$_}++ for $line =~ m{(?<![\w/.])((?:[\w.-]+/)*[\w-]+[.](?:rs|pm|pod|t|h|xs|js|toml))\b}g;
    $paths{$_}++
        for $line =~
        m{(?<![\w/.])((?:src|hub_process|perl|t|xt|fuzz|loom|sim|script|bench|benches|tests|examples|share)/[\w/]*)(?![\w.-])}g;
}
for my $path (sort keys %paths) {
    my $exists = -e $path || files_named($path) || grep { m{(?:\A|/)\Q$path\E} } @files;
    ok $exists, "$path exists";
}

# The flows: names of functions, then the file that has them.
sub has_function {
    my ($file, $name) = @_;
    return slurp($file) =~
        /\b(?:sub|fn|const|static\s.*?|struct|macro_rules!|impl)\s*\*?\Q$name\E\b|^\s*(?:async )?\#?\Q$name\E\(|->\Q$name\E\b/m;
}

my $flows = 0;
for my $line (@lines) {
    my ($names, $file) = $line =~ /\A {4}(\S[^(]*?) {2,}((?:src|hub_process|perl|share)\S+[.](?:rs|pm|h|xs|js))\b/
        or next;
    next if $names =~ m{[/.]};
    $flows++;
    for my $name (split /,\s*/, $names) { ok has_function($file, $name), "$file has $name" }
}
cmp_ok $flows, '>=', 30, 'the flows are checked';

# The table of decisions: "`name`, `name` and `name` in `file`".
my $decisions = 0;
my $name      = qr/`\w+`/;
for my $row (grep { /\A[|] [A-Z]/ } @lines) {
    while ($row =~ /((?:$name, )*$name(?: and $name)?) in `([\w\/]+[.](?:rs|pm|h|xs|js))`/g) {
        my ($names, $path) = ($1, $2);
        my @named = files_named($path);
        for my $function ($names =~ /(\w+)/g) {
            next if $function eq 'and';
            $decisions++;
            ok scalar(grep { has_function($_, $function) } @named), "$path has $function";
        }
    }
}
cmp_ok $decisions, '>=', 30, 'the decisions are checked';

# The first comments of modules.
my %source = map { $_ => slurp($_) } grep { m{\A(?:src|hub_process/src|perl)/.*[.](?:rs|pm|h|xs)\z} } @files;

# What the code of both crates defines: functions, types and their variants, constants, and modules by their files.
my %is_defined = map { m{([^/]+?)(?:/mod)?[.]rs\z} ? ($1 => 1) : () } @files;
for my $file (grep { /[.]rs\z/ } keys %source) {
    my $code = $source{$file} =~ s{//.*}{}gr;
    $is_defined{$1} = 1 while $code =~ /\b(?:fn|struct|enum|trait|type|const|static|macro_rules!)\s+(\w+)/g;
    $is_defined{$1} = 1 while $code =~ /^[ ]+(?:\d+ )?([A-Z]\w+)\s*[,({]/mg;
}

# Words of the protocols, the kernel, perl and processors, and of examples.
my %IS_FOREIGN = map { $_ => 1 } qw(
    EPOCH-CIPHERTEXT EPOCH-SEQ EPOCH-SEQ-REPORTED LISTEN_PID O_NONBLOCK SA_RESTART SCM_RIGHTS TCP_USER_TIMEOUT XDG_RUNTIME_DIR
    Host Instant a b bears_signals c epoll_wait eventsource gap icsk_probes_tstamp libc memchr2 memcpy movemask
    pthread_atfork pthread_sigmask rustix safe_arch sqlite3 trailing_zeros unsafe user
);

# Returns true if what a module's first comment names is a file, is defined, or is a word of the module itself. A module with
# parts names these: a field is not one.
sub exists_for {
    my ($file, $name) = @_;
    my $folder = $file =~ s{(?:/mod)?[.]rs\z}{}r;
    if ($name =~ m{\A(?:src|hub_process|perl|t|xt|bench|loom|fuzz|sim)/|\w[.](?:rs|pm|t|h|xs|lua)\z}) {
        my ($path) = split / /, $name;
        return -e $path || files_named($path) || grep { index($_, "$folder/") == 0 && m{\A[^*]*\Q$path\E\z} } @files;
    }
    my ($last) = $name =~ /\A(?:mod@)?(?:\w+::)*(\w+)!?(?:\(\))?\z/ or return 1;    # a text
    return 1 if $is_defined{$last} || $IS_FOREIGN{$last};
    return $source{$file} =~ m{^(?!\s*//).*\b\Q$last\E\b}m && $source{$file} !~ /^(?:pub\S* )?mod \w+;/m;
}

for my $file (sort grep { /[.]rs\z/ } keys %source) {
    my ($head) = $source{$file} =~ m{\A((?://!.*\n)+)} or next;
    $head =~ s{```.*?```}{}gs;
    my @missing = grep { !exists_for($file, $_) } $head =~ /`([^`]+)`/g;

    # A list has the modules of the folder, each with what it does.
    my $folder  = $file =~ s{(?:/mod|/lib|/main)?[.]rs\z}{}r;
    my ($list)  = $head =~ m{^//! - \[?(`.*)}ms;
    my @modules = $source{$file} =~ /^(?:pub\S* )?mod \w+;/m ? ($list // '') =~ /`(\w+)`\]?:/g : ();
    for my $module (@modules) {
        my $is_there = grep { m{\A\Q$folder\E/(?:.*/)?\Q$module\E(?:[.]rs|/)} } @files;
        push @missing, $module if !$is_there && $source{$file} !~ /\bmod \Q$module\E \{/;
    }
    is "@missing", '', "$file: what its first comment names";
}

# Returns true if a name is that of a package, or of a function of one. XSUBs are named in files of src/xs.
my $xsubs = join '', map { $source{$_} } grep { /[.]xs\z/ } keys %source;

sub has_package {
    my $name = shift;
    my ($class, $last) = $name =~ /\A(.+)::(\w+)\z/;
    return 1 if $xsubs =~ /\b\Q$last\E\b/;
    my @modules = map { [$_ => s{\Aperl/|[.](?:pm|pod)\z}{}gr =~ s{/}{::}gr] } grep { m{\Aperl/} } @files;
    return grep { $_->[1] eq $name || $_->[1] eq $class && slurp($_->[0]) =~ /\b\Q$last\E\b/ } @modules;
}

for my $document (qw(ARCHITECTURE.md CONTRIBUTING.md SECURITY.md)) {
    my %named   = map { $_ => 1 } slurp($document) =~ /\b((?:EventSource|Plack|HTTP|Test)(?:::\w+)+)/g;
    my @missing = grep {
        /EventSource|ServerEvent/ && !has_package($_) && !grep { m{\Aperl/\Q$_\E/} }
            @files
    } sort keys %named;
    is "@missing", '', "$document: the modules that it names";
}

for my $file (sort grep { /[.]pm\z/ } keys %source) {
    my ($head)  = $source{$file} =~ /\A(.*?)^(?![#\s]|package |use (?:strict|warnings|parent)\b)/ms or next;
    my $comment = join "\n", $head =~ /^#(.*)/mg;
    my @paths   = grep { !/NAME/ }
        $comment =~ m{(?<![\w/.:])((?:[\w-]+/)+[\w-]+[.](?:pm|pod|rs|t|h|xs)|[A-Z]\w+[.](?:pm|pod))\b}g;
    my @missing = grep { !files_named($_) } @paths;
    push @missing, grep { !has_package($_) } $comment =~ /\b(EventSource(?:::\w+)+)/g;
    is "@missing", '', "$file: what its first comment names";
}

done_testing;
