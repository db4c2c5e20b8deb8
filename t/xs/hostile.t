# Arguments that work against the function they are given to: nothing that Perl code does while it is being read may
# harm memory, and nothing of it is read twice.
#
# Most of these passed by luck without the care that they check: run them under valgrind (script/sanitize) too.

use strict;
use warnings;

use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Test::More;

subtest 'an empty text from Rust has no end that could be looked for' => sub {
    my $parser = EventSource::Parser->new;
    is $parser->last_event_id, '', 'the ID of a new parser';
    is_deeply [$parser->feed("data\n\n")], [{event => 'message', data => '', id => ''}], 'data and ID of an event';
};

subtest 'local on the hash of a parser makes no second owner' => sub {
    my $parser = EventSource::Parser->new;
    our %object;
    local *object = $parser;
    {
        local %object;
        ok !eval { EventSource::Parser::feed(bless(\%object, 'EventSource::Parser'), 'x') }, 'the local hash is none';
        like $@, qr/this is no parser/, 'and says so';
    }
    is $parser->feed("data: 1\n\n"), 1, 'the parser is still there';
};

# Text that sv_free leaves legible until its memory is used again: so it is used again.
sub spoil {
    my @others = map { "spoilt $_" x 20 } 1 .. 200;
    return scalar @others;
}

{

    package Saboteur;
    use overload
        '""'   => sub { $_[0]{act}->(); $_[0]{text} },
        'bool' => sub { $_[0]{act}->(); 1 };

    sub new { my ($class, $text, $act) = @_; return bless {text => $text, act => $act}, $class }
    sub TIESCALAR { my $class = shift; return bless {}, $class }
}

# A hash of one text, and a saboteur that deletes it.
sub prey {
    my %h = (x => join '-', 'prey', 1 .. 50);
    return (\%h, Saboteur->new($_[0], sub { delete $h{x}; main::spoil() }));
}

my $PREY = join '-', 'prey', 1 .. 50;

subtest 'an argument that is deleted while another is read is sent as it was' => sub {
    my ($h, $saboteur) = prey('bye');
    is format_event(data => $h->{x}, event => $saboteur), "event: bye\ndata: $PREY\n\n", 'by an overloaded value';

    ($h, $saboteur) = prey('event');
    is format_event($saboteur => 'ping', data => $h->{x}), "event: ping\ndata: $PREY\n\n", 'by an overloaded name';

    ($h, $saboteur) = prey(1);
    is format_event(bytes => $saboteur, data => $h->{x}), "data: $PREY\n\n", 'by an overloaded truth';

    ($h, $saboteur) = prey(1);
    is EventSource::XS::_push_bytes($saboteur, $h->{x}), "data: $PREY\r\n\r\n", 'by what says how strings are meant';

    ($h, $saboteur) = prey('bye');
    is(HTTP::ServerEvent->as_string(data => $h->{x}, id => $saboteur), "id: bye\r\ndata: $PREY\r\n\r\n", 'by an id');

    ($h, $saboteur) = prey('bye');
    local $SIG{__WARN__} = sub { delete $h->{x}; spoil() };
    is(HTTP::ServerEvent->as_string(undef, 1, data => $h->{x}), "data: $PREY\r\n\r\n", 'by a handler of warnings');
};

subtest 'a name is read once' => sub {
    my $count = 0;
    my $name  = Saboteur->new('data', sub { $count++ });
    is format_event($name => 'x'), "data: x\n\n", 'an overloaded one';
    is $count,                     1,             'is asked once';
    $name = Saboteur->new('nonsense', sub { $count++ });
    ok !eval { format_event($name => 'x') }, 'one that is no field';
    like $@, qr/unknown field 'nonsense'/, 'is refused by its text';
    is $count, 2, 'and asked once';
};

subtest 'an argument that is changed while a later one is read is sent as it was' => sub {
    my ($x, $saboteur);
    for my $change (
        [undefined     => sub { undef $x }],
        [shorter       => sub { $x = 'no' }],
        [longer        => sub { $x .= '!' x 10_000 }],
        ['a reference' => sub { $x = [] }],
        [
            'an object' => sub {
                $x = Saboteur->new('no', sub { die 'read too late' });
            }
        ],
        ['a tie' => sub { tie $x, 'Saboteur' }],
    ) {
        my ($what, $act) = @$change;
        untie $x;
        $x        = "$PREY";
        $saboteur = Saboteur->new('then', sub { $act->(); spoil() });
        is EventSource::XS::_push_bytes(1, $x, $saboteur), "data: $PREY\r\ndata: then\r\n\r\n", "push: $what";

        untie $x;
        $x = "$PREY";
        is format_event(data => [$x, $saboteur]), "data: $PREY\ndata: then\n\n", "format_event: $what";
    }
};

{

    package TiedHash;
    sub TIEHASH  { my ($class, %self) = @_; return bless {%self}, $class }
    sub FETCH    { $_[0]{fetched}->();      return $_[0]{of}{$_[1]} }
    sub FIRSTKEY { my $self = shift; $self->{first}->(); $self->{left} = [@{$self->{names}}]; return $self->NEXTKEY }
    sub NEXTKEY  { return shift @{$_[0]{left}} }
}

subtest 'a tied hash that is let go of while it is read' => sub {
    my ($drop, $event);
    my $make = sub {
        my %param = @_;
        tie my %h, 'TiedHash',
            of      => {data => $PREY, id => 7},
            names   => ['data', 'id'],
            fetched => sub { },
            first   => sub { },
            %param;
        $event = \%h;
    };
    $make->(first => sub { undef $event; spoil() });
    is format_event($event), "id: 7\ndata: $PREY\n\n", 'at its first name';

    $make->(fetched => sub { undef $event; spoil() });
    is format_event($event), "id: 7\ndata: $PREY\n\n", 'at its first value';
    $make->(fetched => sub { undef $event; spoil() });
    is EventSource::XS::_push_bytes(1, $event), "id: 7\r\ndata: $PREY\r\n\r\n", 'in a push';

    my $rewound = 0;
    my $name    = Saboteur->new('data', sub { scalar keys %$event if !$rewound++; spoil() });
    $make->(names => [$name, 'id'], of => {data => $PREY, "$name" => $PREY, id => 7});
    $rewound = 0;
    is format_event($event), "id: 7\ndata: $PREY\n\n", 'a name that rewinds the iterator';
};

subtest 'an argument that was freed before the call counts as undefined' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my %h;
    my @names = 'a' .. 'z';
    my $free  = sub { undef %h; return Saboteur->new('c', \&spoil) };
    for (1 .. 3) {
        @h{@names} = (1 .. 26);
        eval {
            format_event((map { ('data', $_) } @h{@names}), comment => $free->());
        };
        @h{@names} = (1 .. 26);
        EventSource::XS::_push_bytes(1, @h{@names}, $free->());
    }
    is_deeply \@warnings, [], 'and nothing is freed twice';
};

{

    package TiedScalar;
    sub TIESCALAR { my ($class, $fetch) = @_; return bless {fetch => $fetch}, $class }
    sub FETCH     { return $_[0]{fetch}->() }
}

subtest 'a parser that goes while its bytes are read' => sub {
    my %h = (parser => EventSource::Parser->new);
    tie my $undefines, 'TiedScalar', sub { undef $h{parser}; spoil(); return "data: 1\n\n" };
    is_deeply [$h{parser}->feed($undefines)], [{event => 'message', data => '1', id => ''}],
        'undefined: lives for the call';

    my $other = EventSource::Parser->new;
    %h = (parser => EventSource::Parser->new);
    tie my $assigns, 'TiedScalar', sub { $h{parser} = $other; return "data: 1\n\n" };
    is $h{parser}->feed($assigns), 1, 'assigned another one: lives for the call';
    is $other->feed(''),           0, 'which is given nothing';

    %h = (parser => EventSource::Parser->new);
    tie my $deletes, 'TiedScalar', sub { delete $h{parser}; spoil(); return "data: 1\n\n" };
    is_deeply [$h{parser}->feed($deletes)], [{event => 'message', data => '1', id => ''}],
        'deleted: lives for the call';

    tie my $itself, 'TiedScalar', sub { return $h{parser} };
    $h{parser} = EventSource::Parser->new;
    is EventSource::Parser::feed($itself, "data: 1\n\n"), 1,  'a parser in a tied scalar';
    is EventSource::Parser::last_event_id($itself),       '', 'answers';

    %h = (object => bless {}, 'EventSource::Parser');
    tie my $number, 'TiedScalar', sub { delete $h{object}; spoil(); return 10 };
    ok eval { EventSource::Parser::_attach($h{object}, $number); 1 }, 'an object that goes while it becomes a parser';
};

subtest 'what is no parser is told from one' => sub {
    my @numbers = map { 12_345 + $_ } 1 .. 100;
    my $parser  = EventSource::Parser->new;
    for my $thing (undef, 1, 'EventSource::Parser', [], {}, sub { }, qr/x/, \*STDIN, \'x', \undef, \\1, \(@numbers)) {
        for my $method (qw(feed finish last_event_id retry _attach)) {
            my $code = EventSource::Parser->can($method);
            next if eval { $code->($thing, $method =~ /feed|_attach/ ? 1 : ()); fail "$method takes it"; 1 };
            next if $@ =~ /\AEventSource::Parser: (?:this is no parser|a parser is an object)/;
            fail "$method: $@";
        }
    }
    ok !eval { $parser->_attach(1) }, 'a parser is not made one again';
    like $@, qr/is a parser already/, 'and says so';
};

subtest 'a string with a flag that is a lie is sent as valid UTF-8' => sub {
    require Encode;
    my $cut  = "\xE9t\xE9";
    my $pair = "\xC2\x01\xC3";
    Encode::_utf8_on($_) for $cut, $pair;
    is format_event(data => $cut), "data: \xEF\xBF\xBDt\xEF\xBF\xBD\n\n", 'characters';
    is EventSource::XS::_push_bytes(0, $cut),  "data: \xEF\xBF\xBDt\xEF\xBF\xBD\r\n\r\n",    'either';
    is EventSource::XS::_push_bytes(0, $pair), "data: \xEF\xBF\xBD\x01\xEF\xBF\xBD\r\n\r\n", 'what looks like bytes';
    ok !eval { format_event(data => $cut, bytes => 1) }, 'but no bytes';
    ok !eval { EventSource::Parser->new->feed($cut) },   'nor to be parsed';
};

subtest 'an object that makes something else of its own reference' => sub {
    my @data;
    my $object = Saboteur->new("\x{263A}", sub { $data[0] = "caf\xE9" x 9; spoil() });
    @data = ($object);
    is format_event(data => \@data), "data: \xE2\x98\xBA\n\n", 'is sent as what it answered';
    ok !utf8::is_utf8($data[0]), 'and its successor keeps its flag';
};

done_testing;
