package Testing::Originals::ServerEvent;
use strict;
use warnings;

# Calls of HTTP::ServerEvent. See Testing::Originals.

use HTTP::ServerEvent;
use Testing::Originals::Values qw(value);

package Testing::Originals::Events {
    our @ISA = ('HTTP::ServerEvent');
    sub new       { return bless {}, shift }
    sub as_string { my ($self, @fields) = @_; return $self->SUPER::as_string(@fields, id => 'of a subclass') }
}

# An object whose text differs each time.
package Testing::Originals::Counter {
    use overload '""' => sub { return ++$_[0]{count} }, fallback => 1;
}

# An object that is false and has a text.
package Testing::Originals::FalseText {
    use overload '""' => sub { 'text' }, bool => sub { 0 }, fallback => 1;
}

sub as_string {
    my @fields = @_;
    return sub { return HTTP::ServerEvent->as_string(@fields) };
}

sub cases {
    my ($class, $random) = @_;
    return (_table(), map { _random($_, $random) } 1 .. 2_000);
}

sub _table {
    my $false = 'data that is false, such as `data => 0`';
    my $once  = 'an object\'s text, a tied variable';
    return (
        ['nothing'                      => as_string()],
        ['an odd number of arguments'   => as_string('data')],
        ['a hash reference'             => as_string({data => 1})],
        ['undef as a name'              => as_string(undef, 1, data => 2)],
        ['a reference as a name'        => as_string([],    1, data => 2)],
        ['a field twice'                => as_string(data    => 1, data => 2)],
        ['unknown fields'               => as_string(comment => 1, json => 2, bytes => 1, type => 3, data => 4)],
        ['a name in another case'       => as_string(Data    => 1, ID   => 2)],
        ['a subclass'                   => sub { Testing::Originals::Events->as_string(data => 1) }],
        ['an object of a subclass'      => sub { Testing::Originals::Events->new->as_string(data => 1, id => 3) }],
        ['an object'                    => sub { bless([], 'HTTP::ServerEvent')->as_string(data => 1) }],
        ['a function'                   => sub { HTTP::ServerEvent::as_string(undef, data => 1) }],
        ['a function without arguments' => sub { HTTP::ServerEvent::as_string() }],
        ['its result in scalar context' => sub { scalar HTTP::ServerEvent->as_string(data => 1) }],
        ['can'                          => sub { ref(HTTP::ServerEvent->can('as_string')) }],
        [
            'the arguments stay' =>
                sub { my @data = ("a\nb", undef); HTTP::ServerEvent->as_string(data => \@data); @data }
        ],
        map({ _given($_) } value()),
        ['data is 0' => as_string(data => 0), $false, ["data: 0\r\n\r\n"]],
        [
            'data is false' => as_string(data => bless [], 'Testing::Originals::FalseText'),
            $false, ["data: text\r\n\r\n"]
        ],
        [
            'a text that changes' =>
                sub { HTTP::ServerEvent->as_string(id => bless {}, 'Testing::Originals::Counter') },
            $once, ["id: 1\r\n\r\n"]
        ],
    );
}

# A value as each field, and in an array of data.
sub _given {
    my $name = shift;
    return (
        (
            map {
                my $field = $_;
                ["$field is $name" => sub { HTTP::ServerEvent->as_string($field => value($name)) }]
            } qw(data event id retry)
        ),
        ["an element of data is $name" => sub { HTTP::ServerEvent->as_string(data => ['x', value($name)]) }],
    );
}

sub _random {
    my ($number, $random) = @_;
    my @fields;
    for (1 .. $random->(0 .. 5)) {
        my $name  = $random->(qw(data data data event id retry retry comment Data), '');
        my $given = $random->(0 .. 9);
        push @fields, $name,
              $given == 0 && $name eq 'data' ? [map { _text($random) } 1 .. $random->(0 .. 4)]
            : $given < 3                     ? \$random->(value())
            :                                  _text($random);
    }
    pop @fields if !$random->(0 .. 20);
    return [
        "random call $number" => sub {
            HTTP::ServerEvent->as_string(map { ref eq 'SCALAR' ? value($$_) : $_ } @fields);
        }
    ];
}

# Never 0.
sub _text {
    my $random = shift;
    return 'x' . join '',
        map { $random->('a' .. 'c', ' ', ':', "\r", "\n", "\r\n", "\0", "\t", "\x{E9}", "\x{263A}", "\x{2028}", 0, 1) }
        1 .. $random->(0 .. 12);
}

1;
