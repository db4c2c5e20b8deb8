# The last event ID of a Plack::App::EventSource: the header, or the query parameter of a polyfill. t/attack/long_query.t
# has the bounds, xt/clients a polyfill that sends a parameter.

use lib 't/lib';
use Testing;
use Plack::App::EventSource;
use Testing::RecordingHub qw(answer);

my $app = Plack::App::EventSource->new(
    handler_cb => sub {
        my $id = $_[0]->last_event_id;
        $_[0]->push(defined $id ? length($id) . ": $id" : 'none');
    },
    characters => 1,
)->to_app;

sub id_of {
    my ($query, @headers) = @_;
    my $text = answer($app, GET => "/?$query", headers => \@headers)->content;
    return $text =~ /\Adata: (.*)\r\n\r\n\z/s ? $1 : "not understood: $text";
}

for my $case (
    ['no id',                         'none',                 ''],
    ['the header',                    '1: 7',                 '', 'Last-Event-ID' => 7],
    ['last_event_id',                 '1: 7',                 'last_event_id=7'],
    ['lastEventId',                   '1: 7',                 'a=b&lastEventId=7'],
    ['evs_last_event_id',             '1: 7',                 'evs_last_event_id=7&a=b'],
    ['another parameter',             'none',                 'Last-Event-ID=7'],
    ['an empty parameter',            'none',                 'lastEventId='],
    ['the header and a parameter',    '1: 8',                 'lastEventId=7', 'Last-Event-ID' => 8],
    ['an empty header',               '1: 7',                 'lastEventId=7', 'Last-Event-ID' => ''],
    ['characters in a parameter',     "6: caf\xC3\xA9 7",     'lastEventId=caf%C3%A9+7'],
    ['1,024 bytes in a parameter',    '1024: ' . 'x' x 1_024, 'lastEventId=' . 'x' x 1_024],
    ['more bytes in a parameter',     '1025: ' . 'x' x 1_025, 'lastEventId=' . 'x' x 5_000],
    ['more bytes in the header',      '1025: ' . 'x' x 1_025, '', 'Last-Event-ID' => 'x' x 5_000],
    ['a parameter after 8,192 bytes', 'none',                 'a=' . 'x' x 8_190 . '&lastEventId=7'],
) {
    my ($what, $expected, @request) = @$case;
    is id_of(@request), $expected, $what;
}

done_testing;
