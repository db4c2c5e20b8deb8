#!perl -T
# Taint mode: output is tainted if, and only if, it is made of tainted strings.

use lib 't/lib';
use Testing;
use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Scalar::Util qw(tainted);

my $evil = substr "$0$^X", 0, 0;
plan skip_all => 'this perl does not taint' if !tainted($evil);

my %way = (
    format_event  => sub { return format_event(data => $_[0]) },
    'a hash'      => sub { return format_event({data => [$_[0]]}) },
    as_string     => sub { return HTTP::ServerEvent->as_string(data => $_[0]) },
    push          => sub { return EventSource::XS::_push_bytes(0, $_[0]) },
    'a last id'   => sub { return scalar EventSource::XS::Request->_call('id', $_[0], undef) },
    'a long text' => sub { return format_event(data => $_[0] . 'x' x 1_000) },
);

for my $name (sort keys %way) {

    # A call site uses its target again: the taint of the first output must not stay for the second.
    my @tainted = map { tainted($way{$name}->($_)) ? 1 : 0 } "a$evil", 'a', "b$evil", 'b';
    is "@tainted",              '1 0 1 0',          "$name: only output of tainted strings is tainted";
    is $way{$name}->("x$evil"), $way{$name}->('x'), "$name: taint does not change the bytes";
}

my $parser = EventSource::Parser->new;
my ($event) = $parser->feed("data: x\n\n$evil");
is $event->{data}, 'x', 'tainted bytes are parsed';

# Each statement that runs, and thus each overload, resets perl's internal taint flag.
package Overloaded {
    use overload '""' => sub { my $text = 'clean'; return $text };
}
my $object = bless {}, 'Overloaded';
for my $case (
    ['alone'                         => "x$evil"],
    ['before an overloaded value'    => "x$evil",        $object],
    ['after an overloaded value'     => $object,         "x$evil"],
    ['between two overloaded values' => $object,         "x$evil", $object],
    ['that is not Unicode'           => "\x{D800}$evil", $object],
) {
    my ($where, @data) = @$case;
    ok tainted(format_event(data => [@data])),                 "format_event: a tainted text $where";
    ok tainted(EventSource::XS::_push_bytes(1, @data)),        "push: a tainted text $where";
    ok tainted(HTTP::ServerEvent->as_string(data => [@data])), "as_string: a tainted text $where";
}
my @tainted = map { tainted(format_event(data => [$_, $object])) ? 1 : 0 } "a$evil", 'a', "b$evil", 'b';
is "@tainted", '1 0 1 0', 'with an overloaded value, only output of tainted strings is tainted';

done_testing;
