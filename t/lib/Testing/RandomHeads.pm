package Testing::RandomHeads;
use Testing;

# Random heads of requests for a stream, as browsers, polyfills, proxies and hostile clients send them: the same for the same
# seed.
#
#   my $heads = Testing::RandomHeads->new(seed => 7, hub => 'shop', ids => ['a', 'b']);
#   my ($bytes, $kind) = @{$heads->next};
#
# {ticket} in the bytes is the place of a ticket. The kind, which most heads do not have, is what is wrong with the syntax.

use EventSource::XS::Request;
use Plack::App::EventSource::Connection;

my $AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36';

# A longer head is a long one: uWSGI has 4,096 bytes for an environment, which has the query twice, and drops fields beyond.
my $LONG = 2_000;

# What a browser sends of itself: each field with its values.
my @BROWSER = (
    ['Accept'             => 'text/event-stream', '*/*'],
    ['Accept-Language'    => 'de-DE,de;q=0.9,en;q=0.8'],
    ['Cache-Control'      => 'no-cache'],
    ['Connection'         => 'keep-alive', 'close'],
    ['DNT'                => 1],
    ['Pragma'             => 'no-cache'],
    ['Referer'            => 'https://shop.example/page?a=b#c'],
    ['Sec-CH-UA'          => '"Chromium";v="130", "Not?A_Brand";v="99"'],
    ['Sec-CH-UA-Mobile'   => '?0'],
    ['Sec-CH-UA-Platform' => '"Linux"'],
    ['Sec-Fetch-Dest'     => 'empty'],
    ['Sec-Fetch-Mode'     => 'cors'],
    ['Sec-Fetch-Site'     => qw(same-origin same-site cross-site)],
    ['User-Agent'         => $AGENT],
    ['X-Forwarded-For'    => '192.0.2.1, 10.0.0.1'],
);

# What the reader reads: each field with how often it is there, and its values.
my @READ = (
    [
        'Accept-Encoding', 0.8, 'gzip', 'gzip, deflate, br, zstd',
        'identity', '*', 'GZIP', 'x-gzip', 'br', 'gzip;q=0',
        'zstd;q=0.5, gzip',
        'gzip ; Q = 0.5 , identity ; q=0.2',
        'zstd, gzip;q=0.8',
        '*;q=0', 'gzip;q=2', ','
    ],
    ['Authorization', 0.2, 'Basic eDp5', 'Bearer a.b-c', 'bearer A'],
    ['Origin', 0.2, 'https://shop.example', 'null'],
    [
        'Prefer',
        0.4,
        'wait=0',
        'wait=20',
        'Wait=7; reason=mute',
        'wait="0"; Reason="cut"',
        'request=k3j9x',
        'wait=61',
        'wait=0, request=a',
        'respond-async',
        'wait=',
        'wait=x',
        'wait=5, wait=6',
        'wait=0; reason="a\\"b"',
        'wait=0 x',
        'WAIT = 007 ;reason= "silent" ; x',
        'request="a b"',
        'a; b="c, wait=5"',
        ',, ',
        'x, request=b;q=1, wait=3;reason=refused'
    ],
    ['X-Device', 0.4, 'x', 'a, b'],
);

my @COOKIES = (
    'session=ann', 'session=bob', 'lang=de', 'lang=', '=x', 'theme', 'a="b c"', 'a=b=c',
    'p=%41%e4',    '',            "n=\xE4",  'a=1, b=2',
    'session = ann',
    'eventsource-ticket-shop-00000000=AAAA'
);
my @PARAMETERS =
    qw(last_event_id lastEventId evs_last_event_id eventsource-request a b lasteventid last%5Fevent_id last+event);
my @PATHS =
    (qw(/ /events/ /Events /%65vents /events%2fnews /events%2Fnews /e%20v /a+b //a /a//b /./a /a/../b), '/a,b;c=d');
my @PIECES = (
    ('a', 'b', 7, ' ', "\t", '+', '%', '%2', '%41', '%e4', '%E4', '%26', '%3d', '%3B', '%00'),
    (',', '"', '\\', '/', '=', '~', '|', '*', '-', '_', '.', "\xE4", "\xC3\xA4", "\xFF")
);

# What may be wrong with the syntax: each changes the lines of fields, pairs of names and values, or the target.
my %WRONG = (
    'folded line' => sub { _some($_[0])->[1] .= "\r\n" . _one(' ', "\t") . _one('a', 'lang=fr', ', wait=3', '') },
    'space before colon' => sub { _some($_[0])->[0] .= _one(' ', "\t") },
    'no host'            => sub {
        @{$_[0]} = grep { $_->[0] ne 'Host' } @{$_[0]};
    },
    'two hosts'  => sub { push @{$_[0]}, ['Host', _one('shop.example', 'other.example')] },
    'underscore' => sub { push @{$_[0]}, _one(['Last_Event_ID', 'a'], ['X_Device', 'y'], ['Accept_Encoding', 'gzip']) },
    'control character' => sub { _some($_[0])->[1] .= chr(_one(0 .. 8, 11, 12, 14 .. 31, 127)) . 'x' },
    'many fields'       => sub {
        push @{$_[0]}, map { ["X-$_", 1] } 1 .. 150;
    },
    'long head'                    => sub { push @{$_[0]}, ['X-Long', 'x' x _one(4000, 9000, 17_000)] },
    'fragment'                     => sub { ${$_[1]} .= '#' . _one('', 'a', '?lastEventId=x') },
    'absolute target'              => sub { ${$_[1]} = "http://shop.example${$_[1]}" },
    'raw bytes in the target'      => sub { ${$_[1]} .= _one("\xE4", "\xC3\xA4", '"', '<', '\\', '^', '`{|}') },
    'malformed escape in the path' => sub { ${$_[1]} =~ s/\A[^?]*\K/_one('%zz', '%', '%4')/e },
    'no colon'                     => sub { _some($_[0])->[2] = '' },
    'empty name'                   => sub { _some($_[0])->[0] = '' },
    'blanks in a repeated field'   => sub {
        push @{$_[0]}, map { ['X-Device', _one("x\t", "\ty", 'z  ')] } 1 .. 3;
    },
    'body' => sub { push @{$_[0]}, ['Content-Length', _one('00', '0 ', "0\t")] },
);
my @WRONG = sort keys %WRONG;

# Options: seed; hub, its name; ids, which clients send most often.
sub new {
    my ($class, %option) = @_;
    srand $option{seed};
    return bless {%option}, $class;
}

# The next head, and its kind.
sub next {
    my $self    = shift;
    my $path    = _is(0.7) ? '/events'                : _one(@PATHS);
    my $target  = _is(0.6) ? "$path?" . $self->_query : $path;
    my $share   = rand;
    my @browser = map { my ($name, @values) = @$_; _is($share) ? [$name, _one(@values)] : () } @BROWSER;
    my @lines   = (@browser, $self->_cookies($path));
    for my $read (@READ, ['Last-Event-ID', 0.5, map { $self->_id } 1, 2]) {
        my ($name, $often, @values) = @$read;
        push @lines, map { [$name, _value(@values)] } 1 .. _is($often) + _is($often / 10);
    }
    splice @lines, rand(@lines + 1), 0, ['Host', _one('shop.example', 'SHOP.example:8080', '[::1]:80')];
    my $method = _is(0.95) ? 'GET' : _one(qw(POST PUT));
    push @lines, ['Content-Length', 0] if $method ne 'GET' || _is(0.02);
    my %repeated;
    $repeated{$_->[0]}++ for @lines;
    $_->[1] =~ s/\A[ \t]+|[ \t]+\z//g for grep { $repeated{$_->[0]} > 1 } @lines;
    my $kind = _is(0.1) ? _one(@WRONG) : undef;
    $WRONG{$kind}->(\@lines, \$target) if defined $kind;
    my $first = "$method $target HTTP/" . _one(('1.1') x 9, '1.0');
    my $bytes = join "\r\n", $first, (map { _line($_, $repeated{$_->[0]} // 0) } @lines), '', '';
    return [$bytes, $kind // (length $bytes > $LONG ? 'long head' : ())];
}

# Cookies, maybe in several fields. Most have a ticket of the path.
sub _cookies {
    my ($self, $path) = @_;
    return if _is(0.1);
    my ($name) = EventSource::XS::Request->_call('cookie', $self->{hub}, $path);
    my $ticket = "$name={ticket}";
    my @wrong  = ("$name=\"{ticket}\"", "$ticket=", "$name= {ticket}", uc($name) . '={ticket}', $name, "$name=");
    my @all    = map { _one(@COOKIES) } 1 .. rand 5;
    splice @all, rand(@all + 1), 0, _is(0.9) ? $ticket : _one(@wrong, "$ticket; $ticket", "\t$ticket ") if _is(0.9);
    my $text = join _one(('; ') x 6, ';', ' ; ', ';; '), @all;
    return ['Cookie', $text] if _is(0.8) || $text =~ /ticket}.*ticket}/;
    return map { ['Cookie', $_] } split /;/, $text, 2;
}

sub _id {
    my $self = shift;
    return _one((@{$self->{ids}}) x 3,
        '', _text(), 'nonsense', 'x' x 1030, Plack::App::EventSource::Connection->finished_id);
}

# A probability.
sub _is { return rand() < $_[0] ? 1 : 0 }

# The text of a line, with a name in any case, and blanks around the value unless other lines follow it in the same field.
sub _line {
    my ($line, $repeated) = @_;
    my ($name, $value, $colon) = (@$line, ':')[0 .. 2];
    $name = _one(($name) x 4, lc $name, uc $name, join '', map { _is(0.5) ? uc : lc } split //, $name);
    return "$name$colon $value" if $repeated > 1 || $name =~ /\AContent-Length\z/i;
    return $name . $colon . _one((' ') x 12, '', "\t", '  ', " \t") . $value . _one(('') x 12, ' ', "\t", " \t ");
}

sub _one { return $_[rand @_] }

sub _query {
    my $self = shift;
    my @all;
    for (1 .. 1 + rand 4) {
        my ($name, $value) = (_one(@PARAMETERS), _is(0.5) ? $self->_id : _text());
        $value =~ s/([^\w.-])/sprintf _one('%%%02x', '%%%02X'), ord $1/ge if _is(0.8);
        $value =~ s/(\w)/sprintf '%%%02X', ord $1/e                       if _is(0.1);
        push @all, _one(("$name=$value") x 8, $name, "$name=", "=$value", '') =~ s/[^!-~]|[#"\\<>]//gr;
    }
    return join _one(('&') x 6, ';', '&&'), @all;
}

sub _some { my $lines = shift; return $lines->[rand @$lines] }

sub _text {
    return join '', map { _one(@PIECES) } 1 .. rand 6;
}

sub _value { return _is(0.06) ? '' : _is(0.03) ? _text() =~ s/\A[ \t]+|[ \t]+\z//gr : _one(@_) }

1;
