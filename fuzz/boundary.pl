# The Perl part of the fuzz target `boundary`. The bytes of the input choose a function of the boundary and build its
# arguments, of every kind that perl has. Some arguments (saboteurs) run code when they are read, which damages other arguments
# or the object of the call. natives.pl has the calls of streams and hubs.
#
#   perl -Mblib fuzz/boundary.pl FILE...    # runs saved inputs with an ordinary perl

use strict;
use warnings;

# Cpanel::JSON::XS (4.35) leaks an overloaded object that it encodes. This would count as a leak of the boundary.
BEGIN {
    unshift @INC, sub { die "not here\n" if $_[1] =~ m{\A(?:Cpanel/)?JSON/XS[.]pm\z}; return }
}

use Encode         ();
use File::Basename qw(dirname);
use File::Spec;
use EventSource::Parser;
use EventSource::XS;
use HTTP::ServerEvent;

require File::Spec->catfile(File::Spec->rel2abs(dirname(__FILE__)), 'natives.pl');

our $input;
my $at;                 # the position in the input
our $depth;             # the depth of nested calls
our $armed = 0;         # saboteurs act only while an XSUB runs: perl's own functions do not withstand them all
my (@pool,   @tied);    # containers of arguments, for saboteurs to find; tied variables to untie
my ($parser, $text);

my @FUNCTIONS = (
    \&EventSource::XS::format_event,
    \&EventSource::XS::_push_bytes,
    \&EventSource::XS::_push_bytes_in_hub,
    sub { HTTP::ServerEvent->as_string(@_) },
    \&HTTP::ServerEvent::as_string,
    sub { $parser->feed(@_) },
    \&EventSource::Parser::feed,
    \&EventSource::Parser::finish,
    \&EventSource::Parser::last_event_id,
    \&EventSource::Parser::retry,
    \&EventSource::Parser::_attach,
    \&EventSource::XS::_nothing,
    (
        map {
            my $name = $_;
            sub { EventSource::XS::Request->_call($name, @_) }
        } qw(coding cookie id preference)
    ),
    sub { EventSource::XS::Request->_call('bound', undef, @_[0 .. 7]) },
);
my @NAMES = qw(data event id retry comment json bytes key nonsense);
my @TEXTS = (
    '',         'x',          "a\nb",     "a\r\nb\r",   "\0", '5000',        "caf\xE9", "\x{263A}",
    "\n",       "\xFF",       ':',        ' x',         '0',  "data: x\n\n", "id: 7\ndata: y\r\n\r\n",
    "\x{D800}", "\x{110000}", "\xC3\xA9", "retry: 9\n", "event: e\n",
);

# Returns the next byte of the input, or 0 after its end.
sub byte { return $at < length $input ? ord substr $input, $at++, 1 : 0 }

sub string {
    my $string = $TEXTS[byte() % @TEXTS];
    my $how    = byte();
    $string = join $string, ('-') x ($how % 16) if $how & 16;
    $string .= 'long' x (1 << $how % 16) if $how & 32 && $how & 64;
    utf8::upgrade($string)               if $how & 128;
    Encode::_utf8_on($string)            if ($how & 0xE0) == 32;      # a wrong flag unless the string is ASCII
    return $string;
}

# Returns a reference to a scalar of any kind.
sub scalar_of {
    my $level = shift;
    my $kind  = byte() % 24;
    $kind %= 10         if $level > 3;
    return \string()    if $kind < 4;
    return \(my $undef) if $kind == 4;
    return \(my $integer = (1, 0, -1, ~0, -9_223_372_036_854_775_807 - 1)[byte() % 5])  if $kind == 5;
    return \(my $number  = (1.5, 1e300, -0.0, 9**9**9, -sin 9**9**9, 1e15)[byte() % 6]) if $kind == 6;
    return \(my $name    = $NAMES[byte() % @NAMES])                                     if $kind <= 8;
    return \(my $truth   = !!(byte() & 1))                                              if $kind == 9;
    return \(my $array   = array_of($level))                                            if $kind <= 11;
    return \(my $hash    = hash_of($level))                                             if $kind <= 13;
    return \(my $object = bless {}, 'Saboteur') if $kind <= 16;
    return \(my $half = bless [], 'Half')       if $kind == 17;
    return tied_scalar()                        if $kind <= 19;
    return \(my $glob = *STDOUT)                if $kind == 20;
    return \substr $text, byte() % 4, byte() % 8 if $kind == 21;
    return \$1 if $kind == 22;
    return \(my $other = (sub { }, qr/x/, \*STDOUT, \'x', v1.2, $parser, \\1)[byte() % 7]);
}

sub tied_scalar {
    tie my $scalar, 'TiedScalar';
    push @tied, \$scalar;
    return \$scalar;
}

sub array_of {
    my $level = shift;
    my @array = map { ${scalar_of($level + 1)} } 1 .. byte() % 20;
    if (byte() % 8 == 0) { tie @array, 'TiedArray', @array; push @tied, \@array }
    push @pool, \@array;
    return \@array;
}

sub hash_of {
    my $level = shift;
    my %hash  = map { ($NAMES[byte() % (@NAMES - byte() % 2)] => ${scalar_of($level + 1)}) } 1 .. byte() % 6;
    if (byte() % 6 == 0) { tie %hash, 'TiedHash', %hash; push @tied, \%hash }
    push @pool, \%hash;
    return \%hash;
}

# Returns an array whose elements are the scalars themselves, not copies, like a function's arguments.
sub arguments {
    my $level = shift;
    my @refs  = map { scalar_of($level) } 1 .. byte() % 10;
    unshift @refs, \(my $name   = 'data')  if byte() & 1;
    unshift @refs, \(my $handle = $parser) if byte() % 4 == 0;
    my $arguments = sub { \@_ }
        ->(map { $$_ } @refs);
    push @pool, $arguments;
    return $arguments;
}

# Lets saboteurs find an array.
sub expose { push @pool, $_[0]; return }

# Reuses freed memory, so that a later read of it gives a recognisable text.
sub spoil {
    my @spoil = map { "spoilt $_" x 9 } 1 .. 40;
    return scalar @spoil;
}

# Does one of the things that Perl code may do while an argument is read.
sub act {
    return if !$armed;
    local $armed = 0;
    my $what   = byte() % 20;
    my $victim = @pool                  ? $pool[byte() % @pool] : [];
    my $array  = ref $victim eq 'ARRAY' ? $victim               : [];
    my $at     = @$array                ? byte() % @$array      : 0;
    no warnings;
    if    ($what == 0) { die 'in the middle' }
    elsif ($what == 1) { @$array = () }
    elsif ($what == 2) { undef $array->[$at] if @$array }
    elsif ($what == 3) {
        eval { $array->[$at] = string(); 1 }
    }
    elsif ($what == 4) {
        eval { $array->[$at] .= 'longer' x 5_000; 1 }
    }
    elsif ($what == 5) {
        eval { $array->[$at] = []; 1 }
    }
    elsif ($what == 6) {
        eval { $array->[$at] = bless {}, 'Saboteur'; 1 }
    }
    elsif ($what == 7) {
        eval { splice @$array, $at, 1; 1 }
    }
    elsif ($what == 8) {
        eval { push @$array, ('more') x 50; 1 }
    }
    elsif ($what == 9) { %$victim = () if ref $victim eq 'HASH' && !tied %$victim }    # see TiedHash
    elsif ($what == 10) {
        my $count = ref $victim eq 'HASH' && !tied %$victim ? keys %$victim : 0;
    }
    elsif ($what == 11)               { undef $parser }
    elsif ($what == 12)               { 'other' =~ /(th)/; $text = 'short' }
    elsif ($what == 13 && $depth < 3) { call() }
    elsif ($what > 13)                { harm() }
    spoil();
    return;
}

sub broken {
    syswrite STDERR, "BROKEN: $_[0]\n";
    kill ABRT => $$;
    return;
}

sub call {
    local ($depth, $armed) = ($depth + 1, 0);
    my $number    = byte() % (2 * @FUNCTIONS);
    my $is_native = $number >= @FUNCTIONS;
    my $code      = $is_native ? native_call() : $FUNCTIONS[$number];
    my $arguments = arguments(0);
    my $list      = byte() & 1;
    $armed = !$is_native;    # native calls arm the saboteurs themselves
    my @result = eval { $list ? $code->(@$arguments) : scalar $code->(@$arguments) };
    $armed = 0;

    if (my $trouble = $@) {
        broken($trouble) if !ref $trouble && $trouble =~ /internal error|panic/;
    }
    elsif ($number < 2) {
        my $line_end = $number ? "\r\n" : "\n";
        my $bytes    = $result[0];

        # Comments alone have no blank line, and no field at all gives nothing else.
        my $has_end = $bytes =~ /$line_end$line_end\z|\A(?::[^\r\n]*$line_end)+\z|\A$line_end\z/;
        broken('flagged')   if utf8::is_utf8($bytes);
        broken('not UTF-8') if !utf8::decode($bytes) && $bytes =~ /[\x80-\xFF]/;
        broken('no end')    if !$has_end;
        broken('spoilt')    if $bytes =~ /spoilt/;
    }
    return;
}

sub run {
    local ($_, $@);
    ($at, $depth) = (0, 0);
    $text   = 'a substring of this';
    $parser = EventSource::Parser->new(max_event => 1_000);
    $text =~ /(sub\w+)/;
    local $SIG{__WARN__} = sub {
        broken($_[0]) if $_[0] =~ /Attempt to|unreferenced|panic|freed/;
        act();
    };
    call() for 0 .. byte() % 3;
    for (@tied) {
        if    (ref $_ eq 'ARRAY') { untie @$_ }
        elsif (ref $_ eq 'HASH')  { untie %$_ }
        else                      { untie $$_ }
    }
    for (@pool) {
        if   (ref $_ eq 'ARRAY') { @$_ = () }
        else                     { %$_ = () }
    }
    @pool = @tied = ();
    undef $parser;
    finish_natives();
    return;
}

# The saboteurs.

{

    package Saboteur;
    use overload
        '""'   => sub { main::act(); main::string() },
        'bool' => sub { main::act(); main::byte() & 1 },
        '0+'   => sub { main::act(); main::byte() };
}
{

    package Half;    # overloads numbers but not strings
    use overload '0+' => sub { main::act(); main::byte() }, fallback => 1;
}
{

    package TiedScalar;
    sub TIESCALAR { return bless [], shift }
    sub FETCH     { main::act(); return ${main::scalar_of(2)} }
    sub STORE     { }
}
{

    package TiedArray;
    sub TIEARRAY  { my $class = shift; return bless [@_], $class }
    sub FETCHSIZE { main::act();       return scalar @{$_[0]} % 20 }
    sub FETCH     { main::act();       return $_[0][$_[1]] }
    sub STORE     { }
    sub CLEAR     { @{$_[0]} = (); return }
    sub EXTEND    { }
    sub STORESIZE { }
    sub PUSH      { }
    sub SPLICE    { }
}
{

    # perl's own `each` also frees the iterator of a tied hash twice if NEXTKEY or FIRSTKEY begins another iteration or clears
    # the hash. These methods therefore do neither.
    package TiedHash;
    sub TIEHASH  { my $class = shift; return bless {@_}, $class }
    sub FETCH    { main::act();       return $_[0]{$_[1]} }
    sub STORE    { }
    sub CLEAR    { %{$_[0]} = (); return }
    sub EXISTS   { main::act();   return exists $_[0]{$_[1]} }
    sub FIRSTKEY { local $main::depth = 9; main::act(); my $reset = keys %{$_[0]}; return each %{$_[0]} }
    sub NEXTKEY  { local $main::depth = 9; main::act(); return each %{$_[0]} }
}

for my $file (@ARGV) {
    open my $in, '<:raw', $file or die "$file: $!\n";
    $input = do { local $/; <$in> };
    run();
}

1;
