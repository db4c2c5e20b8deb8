# The structs that cross the boundary have the same members in C and in Rust, in the same order and of the same types: so they
# have the same layout (repr(C)). And the calls by name that Perl makes are those that Rust answers.

use lib 't/lib';
use Testing;
use Testing::SourceTree qw(distribution_files slurp);

# The types of C, as Rust names them.
my %RUST = (
    'char'              => 'u8',
    'const char *'      => '*const c_char',
    'const esx_field *' => '*const RawField',
    'double'            => 'f64',
    'esx_text'          => 'RawText',
    'int'               => 'c_int',
    'size_t'            => 'usize',
    'uint32_t'          => 'u32',
    'uint64_t'          => 'u64',
    'uint8_t'           => 'u8',
);

# The declarations of a struct of C, each as Rust writes it.
sub in_rust {
    my $declaration = shift;
    my ($type, $names) = $declaration =~ /\A\s*((?:const )?\w+) (.*?)\s*\z/s or die $declaration;
    my @members;
    for my $member (split /\s*,\s*/, $names) {
        my ($pointer, $name, $count) = $member =~ /\A([*]?)(\w+)(?:\[(\w+)\])?\z/ or die $member;
        my $rust = $RUST{$pointer ? "$type *" : $type} or die "$declaration: a new type";
        $rust = "[$rust; $count]" if defined $count;
        push @members, "$name: $rust";
    }
    return @members;
}

my $header = slurp('src/xs/eventsource.h') =~ s{/[*].*?[*]/}{}gsr;
my %in_c;
$in_c{$2} = [map { in_rust($_) } grep { /\S/ } split /;/, $1] while $header =~ /typedef struct \{(.*?)\} (\w+);/gs;

my %in_rust;
for my $path (glob('src/xs/*.rs'), 'src/hub/counts.rs', 'src/stream/stats.rs') {
    my @items = split /\n\n/, slurp($path);
    for my $item (grep { /^#\[repr\(C\)\]$/m } @items) {
        my ($name, $members) = $item =~ /`(esx_\w+)`.*\bstruct \w+ \{\n(.*)^\}/ms or die "$path: $item";
        my @members = map { s{^\s*//.*}{}r } split /\n/, $members;
        for (@members) {
            s/\A\s*(?:pub )?(.*),\z/$1/;
            s/MaybeUninit<(.*?)>/$1/;
            s/\[c_char;/[u8;/;
        }
        $in_rust{$name} = [grep { length } @members];
    }
}

is_deeply $in_rust{$_}, $in_c{$_}, "$_ is the same in C and in Rust"
    or diag explain $in_rust{$_}, $in_c{$_}
    for sort keys %in_c;
is_deeply [sort keys %in_rust], [sort keys %in_c], 'each struct of Rust that C knows is in the header';

my $rust   = join '', map { slurp($_) } glob 'src/xs/*.rs';
my %number = $header =~ /\bESX_(\w+_MAX) = (\d+)/g;
for my $name (grep { $rust =~ /\bconst $_: usize/ } sort keys %number) {
    like $rust, qr/\bconst $name: usize = $number{$name};/, "$name has the same value";
}

my %calls =
    map { ($_ => 1) } map { slurp($_) =~ /->_call\(\s*'(\w+)'/g } grep { m{\Aperl/.*[.]pm\z} } distribution_files();
my @answers =
    map { /b"(\w+)"\)? =>/g }
    join('', map { slurp("src/xs/$_.rs") } qw(calls hub process request)) =~
    /\bfn (?:esx_\w+_)?call\(.*?^(?: {4})?\}$/msg;
is_deeply [sort keys %calls], [sort keys %{{map { ($_ => 1) } @answers}}],
    'each call that Perl makes is answered, and no other';

done_testing;
