package EventSource::XS::JSONText;
use strict;
use warnings;

# A text of JSON that becomes data of an event as it is, in the place of a structure. A decoder would change or refuse some:
# numbers with more digits than Perl's, keys that come twice, halves of surrogate pairs, deep nesting.

use EventSource::XS::UTF8;
use JSON::MaybeXS ();

my $JSON = JSON::MaybeXS->new(utf8 => 1);

my $LITERAL = qr/true|false|null|-?+(?:0|[1-9][0-9]*+)(?:[.][0-9]++)?+(?:[eE][+-]?+[0-9]++)?+/;
my $ESCAPE  = qr{\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})};
my $SPACE   = qr/[ \t\n\r]*+/;

# Public methods

# Of characters.
sub new {
    my ($class, $text) = @_;
    return bless \$text, $class;
}

# After how many bytes a text, in UTF-8, is JSON no more by the grammar of RFC 8259; undef if all of it is. A row of a table may
# be long and deep, so nothing recurses, and no group is repeated: perl bounds that.
sub mistake_at {
    my ($class, $text) = @_;
    my $open = '';    # the brackets of the containers around
    for ($text) {
        pos = 0;
        while (1) {
            /\G$SPACE/gc;
            if (/\G([\[{])$SPACE/gc) {
                my $is_object = $1 eq '{';
                $open .= $1;
                if (!($is_object ? /\G\}/ : /\G\]/)) {
                    return pos if $is_object && !_skip_key();
                    next;
                }
            }
            elsif (!/\G$LITERAL/gc && !_skip_string()) { return pos }
            return pos if !_skip_end(\$open);
            last       if !length $open;
        }
    }
    return pos($text) == length $text ? undef : pos $text;
}

sub text { return ${$_[0]} }

# An object that was decoded from a text, in UTF-8, with its field json as that text has it. So are other fields that are
# numbers. A field that comes twice has its last value, as for a decoder.
sub with_texts {
    my ($class, $bytes, $object) = @_;
    my %object = %$object;
    my %text;
    _each_member(
        $bytes,
        sub {
            my ($key, $text) = @_;
            my $name = $key =~ /\\/ ? $JSON->decode("[$key]")->[0] : EventSource::XS::UTF8->decode(substr $key, 1, -1);
            $text{$name} = $text;
        }
    );
    for my $name (keys %text) {
        if    ($name eq 'json') { $object{json} = $class->new(EventSource::XS::UTF8->decode($text{json})) }
        elsif (defined $object{$name} && !ref $object{$name} && $text{$name} !~ /\A"/) { $object{$name} = $text{$name} }
    }
    return \%object;
}

# Calls a function with the key and the value of each member of an object, as the text has them. The text is JSON.
sub _each_member {
    my ($text, $call) = @_;
    my ($depth, $key, $from) = (0);
    for ($text) {
        pos = 0;
        while (1) {
            my $at = pos;
            if (/\G(?=")/gc) {
                _skip_string();
                $key = substr $_, $at, pos() - $at if $depth == 1 && !defined $from;
            }
            elsif (/\G([\[\]{}:,])/gc) {
                my $mark = $1;
                if ($depth == 1 && $mark =~ /[,}]/ && defined $from) {
                    $call->($key, substr($_, $from, $at - $from) =~ s/\A$SPACE|$SPACE\z//gr);
                    undef $from;
                }
                $from = pos if $depth == 1 && $mark eq ':';
                $depth += $mark =~ /[\[{]/ ? 1 : $mark =~ /[\]}]/ ? -1 : 0;
            }
            else { /\G[^"\[\]{}:,]++/gc or last }
        }
    }
    return;
}

# Private functions, which move the position in $_, and return false if it does not continue as it must

# Past the ends of containers and a comma, with the key of the next member.
sub _skip_end {
    my $open = shift;
    while (/\G$SPACE/gc && length $$open) {
        my $is_object = substr($$open, -1) eq '{';
        return !$is_object || _skip_key() if /\G,/gc;
        return !!0                        if !($is_object ? /\G\}/gc : /\G\]/gc);
        chop $$open;
    }
    return !!1;
}

sub _skip_key { return /\G$SPACE/gc && _skip_string() && /\G$SPACE:/gc }

sub _skip_string {
    /\G"/gc or return !!0;
    do { /\G[^"\\\x00-\x1F]++/gc } while /\G$ESCAPE/gc;
    return /\G"/gc;
}

1;
