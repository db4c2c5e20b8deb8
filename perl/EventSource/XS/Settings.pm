package EventSource::XS::Settings;
use strict;
use warnings;

# Reads named settings and checks their values, for all modules of this distribution.
#
# A wrong value throws an EventSource::Error with the code invalid and the name of the setting as its field. Its line is the
# one that called the module: the methods of this class do not count as callers.
#
# undef always stands for the default of a setting, so every check accepts it and returns it. All other values are returned
# as they are, unless a method says otherwise.
#
# A number may be an object, as under use bignum, whose conversion to a number may be wrong (Math::BigFloat 1.99). So its string
# counts: seconds and whole_number replace it in the variable that they are given.
#
# Each check takes the name of the setting as it appears in the message. The option field gives the field of the exception
# where that is another: seconds of keep_history is part of the setting keep_history, for example.

use EventSource::Error;
use EventSource::XS::Reason;
use EventSource::XS::UTF8;
use JSON::MaybeXS ();
use List::Util    qw(min);
use Scalar::Util  qw(blessed reftype);
use overload      ();

# The mistakes that have been warned of, each by its kind and call site. At most so many: code that is compiled at run time
# has ever new call sites.
my %has_warned;
my $MAX_WARNINGS = 1000;

my @JSON    = (utf8 => 0, allow_nonref => 1, allow_blessed => 0);
my $JSON    = __PACKAGE__->encoder(canonical => 1);
my $DEEPEST = 511;

# Refuses every object, and writes Inf and NaN for numbers that JSON lacks. Cpanel::JSON::XS writes null for them otherwise.
# A search for a fixed string is the fastest one, so the words are written here as the module writes them.
my $PLAIN = JSON::MaybeXS->new(@JSON);
$PLAIN->stringify_infnan(2) if $PLAIN->can('stringify_infnan');
my ($INF, $NAN) = map { my $word = $PLAIN->encode($_) =~ s/\A-//r; qr/(?<![^-\[:,])$word/ } 9**9**9, 9**9**9 - 9**9**9;
my $IS_NULL = $JSON->encode(9**9**9) eq 'null';

sub new {
    my ($class, $module, %option) = @_;
    return bless {%option, module => $module}, $class;
}

# Public methods

# What perl takes as an array: a reference to one, blessed or not, or an object that is overloaded as one.
sub array {
    my ($self, $name, $value, $of) = @_;
    my @elements;
    return \@elements if do {
        local ($@, $SIG{__DIE__});
        eval { @elements = @$value; 1 };
    };
    return $self->complain($name, "$name must be an array of $of");
}

# A reference to code, blessed or not, an object that is overloaded as one, or a glob: what perl can call.
sub code {
    my ($self, $name, $value, %option) = @_;
    my $is_code =
          !defined $value ? 1
        : !ref $value     ? ref \$value eq 'GLOB'
        :                   reftype($value) =~ /\A(?:CODE|GLOB)\z/ || overload::Method($value, '&{}');
    $self->complain($option{field} || $name, "$name must be a code reference") if !$is_code;
    return $value;
}

sub complain {
    my ($self, $field, $text) = @_;
    return $self->refuse($field, $text) if !$self->{warns};
    $self->warn_once($text, $text, @{$self->{place} || []});
    return undef;
}

# The characters that HTTP allows in a header's name (RFC 9110, section 5.6.2).
my $HEADER_NAME = qr/\A[!#\$%&'*+.^_`|~0-9A-Za-z-]+\z/;

# A line break would end the header, so that is never just a warning.
sub headers {
    my ($self, $name, $value) = @_;
    return $value if !defined $value;
    my $elements = $self->array($name, $value, 'names and values, in pairs') or return $value;
    $self->complain($name, "$name must be an array of names and values, in pairs") if @$elements % 2;
    for my $at (0 .. $#$elements) {
        my $element = $elements->[$at];
        my $before  = $at % 2 && defined $elements->[$at - 1] ? $elements->[$at - 1]            : '';
        my $what    = $at % 2                                 ? "the value of $before in $name" : "name $at of $name";
        if (!defined $element) {
            $self->complain($name, "$what is undefined");
            next;
        }
        my $text = $self->string($what, $element, field => $name);
        $self->refuse($name, "$what must be one line") if $text =~ /[\r\n\0]/;
        if ($at % 2) {
            $self->complain($name, "$what has a character above U+00FF; encode it first") if $text =~ /[^\0-\xFF]/;
        }
        elsif ($text !~ $HEADER_NAME) {
            $self->complain($name, "$what must be the name of a header, such as 'X-Name', not " . _quoted($text));
        }
    }
    return $value;
}

sub hint {
    my ($class, $name, $known, $meant) = @_;
    my $nearest = $class->nearest($name, $known, $meant);
    return defined $nearest ? "; did you mean $nearest?" : '';
}

# Return true if the value is a number of seconds: ASCII digits, at most one decimal point, no sign, and an exponent only of
# a small number, as perl writes 0.00001: a deadline minus the time may be one. undef is not.
sub is_seconds {
    my ($self, $value) = @_;
    return !!(defined $value && $value =~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e-[0-9]{1,3})?\z/);
}

# Return the text of JSON for the field json of an event, in characters. Throw an exception if there is none, for code or a
# structure that contains itself, for example. Takes an encoder where the names need not be in an order. JSON modules differ in
# objects without TO_JSON: some refuse all of them, and Cpanel::JSON::XS writes null for many without a word. And no module
# refuses a number that is infinite or NaN.
sub json {
    return $_[1]->text if ref $_[1] eq 'EventSource::XS::JSONText';
    my $encoder = $_[2] || $JSON;
    my $text    = eval { $encoder->encode($_[1]) };    # each push of json pays for this: no copies
    return $text if defined $text && index($text, 'null') < 0 && ($IS_NULL || $text !~ $INF && $text !~ $NAN);
    local ($@, $SIG{__DIE__});
    my $plain = defined $text ? eval { $PLAIN->encode($_[1]) } : undef;
    return $text if defined $plain && $plain !~ $INF && $plain !~ $NAN;
    $text = eval { $encoder->encode(_without_objects($_[1], 0)) };
    return $text if defined $text;
    return $_[0]->refuse(json => 'json: ' . EventSource::XS::Reason->message_of($@));
}

# Return an encoder for json. A number of Math::BigInt and the like has all of its digits, if the JSON module can do that.
sub encoder {
    my ($class, %option) = @_;
    my $encoder = JSON::MaybeXS->new(@JSON, convert_blessed => 1, %option);
    return $encoder->can('allow_bignum') ? $encoder->allow_bignum : $encoder;
}

# Throw an exception if the hash has a name that is not in the list. The message names the unknown setting (the first one in
# alphabetical order) and the nearest known one, and lists all known ones. The last argument is how the message says it, with
# the first %s for its name; by default it is setting %s.
# Return a copy: a hash of the application may be restricted (lock_hash), and then dies of a look-up of a name that it lacks.
sub known {
    my ($self, $given, $names, $kind) = @_;
    my %is_known  = map { ($_ => 1) } @$names;
    my ($unknown) = grep { !$is_known{$_} } sort keys %$given or return {%$given};
    my $what      = ($kind || 'setting %s') =~ s/%s/'$unknown'/r;
    my $hint      = $self->hint($unknown, $names);
    return $self->refuse($unknown, "unknown $what$hint (known: " . join(', ', sort @$names) . ')');
}

# Return the values of a setting that is one value or an array of them.
sub list {
    my ($self, $value) = @_;
    return ref $value eq 'ARRAY' ? @$value : defined $value ? $value : ();
}

# Return a name of a hub as string does, in characters ("Names" in EventSource::Hub). The library has the rule.
sub name {
    my ($self, $what, $given, %option) = @_;
    my $name = EventSource::XS::_name($self->string($what, $given, %option));
    $self->refuse($option{field} || $what,
        "$what must be Unicode, without halves of surrogate pairs and numbers above U+10FFFF")
        if defined $name && !EventSource::XS::UTF8->is_fit($name);
    return $name;
}

# Throw an exception unless the value is a named EventSource::Hub. The reason comes at the end of the message.
sub named_hub {
    my ($self, $hub, $why) = @_;
    $self->refuse(hub => 'hub must be a named EventSource::Hub' . ($why // ''))
        if !blessed $hub || !$hub->isa('EventSource::Hub') || !$hub->has_process;
    return $hub;
}

# The more letters a name has, the more of them may be wrong, but not all. A name that is another up to an underscore, or after
# one, is like it: handler and handler_cb, history and keep_history.
sub nearest {
    my ($class, $name, $known, $meant) = @_;
    return $meant->{lc $name} if $meant && exists $meant->{lc $name};
    my ($best, $least) = (undef, 1 + int +(length $name) / 3);
    $least = 2 if $least < 2;
    return undef if length $name > 100;    # it may come from a client
    for my $candidate (sort @$known) {
        my $distance = _distance(lc $name, lc $candidate);
        ($best, $least) = ($candidate, $distance) if $distance < $least && $distance < length $name;
    }
    ($best) = grep { _is_part(lc $name, lc $_) } sort @$known if !defined $best;
    return $best;
}

# Throw an exception unless the value is a string of one character or more, without CR, LF and NUL.
sub one_line {
    my ($self, $name, $value, %option) = @_;
    my $text = $self->string($name, $value, %option);
    $self->refuse($option{field} || $name, "$name must be one line that is not empty")
        if defined $text && $text !~ /\A[^\r\n\0]+\z/;
    return $value;
}

# Throw an exception unless the value is one of the strings that follow. undef in that list appears in the message only.
sub one_of {
    my ($self, $name, $value, @allowed) = @_;
    return $value if !defined $value || grep { defined && $_ eq $value } @allowed;
    my @shown = map { !defined $_ ? 'undef' : /\A[0-9]+\z/ ? $_ : "'$_'" } @allowed;
    my $last  = pop @shown;
    return $self->refuse($name, "$name must be " . (@shown ? join(', ', @shown) . " or $last" : $last));
}

# Return named arguments as parse does, if all names are known: takes the call, a reference to the arguments, what one is, as
# known takes it, and the names.
sub options {
    my ($self, $call, $given, $kind, @names) = @_;
    my %given = $self->parse($call, @$given);
    $self->known(\%given, \@names, $kind);
    return %given;
}

# Return named arguments as a list of names and values. The arguments are names and values, or one reference to a hash. If a
# name occurs twice, the last value counts.
sub parse {
    my ($self, $call, @given) = @_;
    return %{$given[0]} if @given == 1 && ref $given[0] eq 'HASH';
    my @names = grep { !($_ % 2) } 0 .. $#given;
    $self->complain(undef, "$call, as names and values or in a hash")
        if @given % 2 || grep { !defined || ref } @given[@names];
    return map { ((defined $given[$_] ? "$given[$_]" : '') => $given[$_ + 1]) } @names;
}

# Return the number of an object; an array with those of its elements; any other value as it is.
sub plain_number {
    my ($class, $value) = @_;
    return $value                                     if !ref $value;
    return [map { $class->plain_number($_) } @$value] if ref $value eq 'ARRAY';
    return overload::Overloaded($value) ? 0 + "$value" : $value;
}

# Throw an exception with the code invalid, that field, or none if it is undef, and that text after the module's name.
sub refuse {
    my ($self, $field, $text) = @_;
    return $self->throw(invalid => $text, $field);
}

# Throw an exception unless the value is a number of seconds from 0 (is_seconds), or above 0 if is_above_zero is true.
sub seconds {
    my ($self, $name, $value, %option) = @_;
    return undef if !defined $value;
    my ($number, $is_above) = ("$value", $option{is_above_zero});
    $self->refuse($option{field} || $name, "$name must be a number of seconds" . ($is_above ? ' above 0' : ''))
        if !$self->is_seconds($number) || $is_above && $number == 0;
    return $value if !ref $value;
    return $_[2] = 0 + $number;
}

# Return the value as a string. Throw an exception if it is a reference, unless it is an object with overloading. hint comes
# at the end of the message.
sub string {
    my ($self, $name, $value, %option) = @_;
    return undef if !defined $value;
    $self->complain($option{field} || $name,
        "$name must be a string, not a reference to " . ref($value) . ($option{hint} || ''))
        if ref $value && !overload::Overloaded($value);
    return "$value";
}

# Throw an exception with that code, that text after the module's name, and perhaps a field.
sub throw {
    my ($self, $code, $text, $field) = @_;
    return EventSource::Error->throw(code => $code, field => $field, message => "$self->{module}: $text");
}

# Warn of a mistake at a line of the application, with the module's name before the text, once for each kind and line in a
# process, and at most 1,000 times. The kind is a string that the text does not show. Without file and line it is the line at
# which refuse would throw.
sub warn_once {
    my ($self, $kind, $text, @place) = @_;
    my ($file, $line) = @place ? @place : @{EventSource::Error->here}{qw(file line)};
    return if keys %has_warned >= $MAX_WARNINGS || $has_warned{"$self->{module}: $kind\0$file\0$line"}++;
    warn "$self->{module}: $text at $file line $line.\n";
    return;
}

# Warn of unknown names as warn_once does, with the nearest known ones. Options: only_similar, names without such one are
# ignored; place, a file and a line in an array; meant, other words, as for nearest.
sub warn_unknown {
    my ($self, $what, $given, $known, %option) = @_;
    my @unknown;
    for my $name (sort @$given) {
        my $nearest = $self->nearest($name, $known, $option{meant});
        push @unknown, "'$name'" . (defined $nearest ? " (did you mean $nearest?)" : '')
            if defined $nearest || !$option{only_similar};
    }
    my $plural = @unknown > 1 ? 's' : '';
    return if !@unknown;
    $self->warn_once($what, "$what$plural " . join(', ', @unknown), @{$option{place} || []});
    return;
}

# Throw an exception unless the value is a whole number in ASCII digits, from from to to. from is required; without to there
# is no upper bound. unit appears in the message.
sub whole_number {
    my ($self, $name, $value, %option) = @_;
    return undef if !defined $value;
    my ($from, $to) = @option{qw(from to)};
    my $number   = "$value";
    my $is_right = $number =~ /\A[0-9]+\z/ && $number >= $from && !(defined $to && $number > $to);
    my $kind     = 'whole number' . (defined $option{unit} ? " of $option{unit}" : '');
    my $range    = "from $from" .   (defined $to           ? " to $to"           : '');
    $self->refuse($option{field} || $name, "$name must be a $kind $range") if !$is_right;
    return $value                                                          if !ref $value;
    return $_[2] = 0 + $number;
}

# Private functions

# The number of letters to insert, remove, replace or swap with the next one to get from one word to another.
sub _distance {
    my ($from, $to) = map { [split //] } @_;
    my @row = ([0 .. @$to]);
    for my $i (1 .. @$from) {
        $row[$i] = [$i];
        for my $j (1 .. @$to) {
            my $is_same = $from->[$i - 1] eq $to->[$j - 1];
            my $is_swap = $i > 1 && $j > 1 && $from->[$i - 1] eq $to->[$j - 2] && $from->[$i - 2] eq $to->[$j - 1];
            my @ways    = ($row[$i - 1][$j] + 1, $row[$i][$j - 1] + 1, $row[$i - 1][$j - 1] + !$is_same);
            push @ways, $row[$i - 2][$j - 2] + 1 if $is_swap;
            $row[$i][$j] = min(@ways);
        }
    }
    return $row[@$from][@$to];
}

sub _is_part {
    my ($short, $long) = sort { length $a <=> length $b } @_;
    return $long =~ /\A\Q$short\E_|_\Q$short\E\z/;
}

# A text from a caller as it is shown in a message.
sub _quoted {
    my $text = shift;
    $text =~ s/[^\x20-\x7E]/?/g;
    return "'" . (length $text > 40 ? substr($text, 0, 40) . '...' : $text) . "'";
}

# A structure for JSON with the values of its objects: what TO_JSON returns, the number of a Math::BigInt or the like, or the
# string of one that overloads "" or 0+. Dies of any other object, and of a number that JSON lacks.
sub _without_objects {
    my ($value, $depth) = @_;
    no warnings 'recursion';
    die "the structure is too deep\n"            if $depth > $DEEPEST;
    die "$value is not a number that JSON has\n" if !ref $value && $PLAIN->encode($value) =~ /\A-?(?:inf|nan)/i;
    return $value                                if !ref $value || JSON::MaybeXS::is_bool($value);
    return [map { _without_objects($_, $depth + 1) } @$value]                      if ref $value eq 'ARRAY';
    return {map { $_ => _without_objects($value->{$_}, $depth + 1) } keys %$value} if ref $value eq 'HASH';
    return $value                                                                  if !blessed $value;
    return _without_objects($value->TO_JSON, $depth + 1)                           if $value->can('TO_JSON');
    my $is_number = $value->isa('Math::BigInt')    || $value->isa('Math::BigFloat');
    my $string    = overload::Method($value, '""') || overload::Method($value, '0+') ? "$value" : undef;
    my $class     = ref $value;
    die "an object of $class has no method TO_JSON, and no string\n" if !defined $string;
    die "$string is not a number that JSON has\n" if $is_number && $string !~ /\A-?[0-9]/;
    return $is_number && $JSON->can('allow_bignum') ? $value : $string;
}

1;
