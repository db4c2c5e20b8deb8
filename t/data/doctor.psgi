# The application behind t/doctor: a good stream, and streams that are wrong in one way each.
#
#   /hub       a stream of the channel news; the query may have keepalive=SECONDS or preamble=BYTES; also /events
#   /coded     the same stream, which proxies may compress
#   /publish   publishes the query to that channel
#   /count     a response that ends, with another event each time
#   /same      a response that ends, with the same event each time
#   /raw       a response with the bytes and headers of the environment, as JSON: DOCTOR_RAW
#   /posted    a response to POST with an event that has the request's body, and then the end
#   /status    a response with the status of the query
#   /owned     a response of an owner; HEAD has the status and headers of the query, as JSON: 200,["EventSource-Owner","ann"]
#   /password  a stream for the user "user" with the password "very secret"
#   /to        a redirect to the query
#   /slow      a stream whose head comes late

use Testing::Application qw(answer);
use EventSource::Hub;
use JSON::PP     ();
use MIME::Base64 qw(decode_base64 encode_base64);
use Plack::Builder;
use Plack::Util ();
use Time::HiRes qw(sleep);
use URI::Escape qw(uri_unescape);

my $KEEPALIVE = 0.5;    # seconds

my $hub    = EventSource::Hub->new(per_process => 1);
my $raw    = $ENV{DOCTOR_RAW} ? JSON::PP::decode_json($ENV{DOCTOR_RAW}) : {};
my @STREAM = ('Content-Type' => 'text/event-stream', 'Cache-Control' => 'no-cache');
my $count  = 0;

my %app;

sub stream {
    my $env     = shift;
    my %setting = (keepalive => $KEEPALIVE, $env->{QUERY_STRING} =~ /(keepalive|preamble)=([0-9.]+)/);
    my $app     = $app{join ' ', %setting} ||= $hub->to_app(
        channels => sub { return 'news' },
        %setting,
        origins => ['http://page.example'],
        retry   => 2000,
        defined $ENV{DOCTOR_NATIVE} ? (native => $ENV{DOCTOR_NATIVE}) : (),
    );
    return $app->($env);
}

sub coded {
    my $response = stream(@_);
    return Plack::Util::response_cb($response,
        sub { Plack::Util::header_set($_[0][1], 'Cache-Control' => 'no-store'); return });
}

builder {
    mount '/hub'      => \&stream;
    mount '/events'   => \&stream;
    mount '/coded'    => \&coded;
    mount '/publish'  => sub { my $env = shift; return answer($hub->publish(news => $env->{QUERY_STRING})) };
    mount '/password' => sub {
        my $env     = shift;
        my $is_user = ($env->{HTTP_AUTHORIZATION} // '') eq 'Basic ' . encode_base64('user:very secret', '');
        return $is_user ? stream($env) : [401, [], []];
    };
    mount '/count'  => sub { $count++; return [200, [@STREAM], ["id: $count\ndata: number $count\n\n"]] };
    mount '/same'   => sub { return [200, [@STREAM], ["id: 1\ndata: one\n\n"]] };
    mount '/posted' => sub {
        my $env = shift;
        $env->{'psgi.input'}->read(my $body, $env->{CONTENT_LENGTH});
        return [$env->{REQUEST_METHOD} eq 'POST' ? 200 : 405, [@STREAM], ["data: $env->{CONTENT_TYPE} $body\n\n"]];
    };
    mount '/status' => sub { my $env = shift; return [$env->{QUERY_STRING}, [], []] };
    mount '/owned'  => sub {
        my $env = shift;
        return [200, [@STREAM, 'EventSource-Owner' => 'ann'], ["id: 1\ndata: a\n\n"]]
            if $env->{REQUEST_METHOD} ne 'HEAD';
        my ($status, $headers) = @{JSON::PP::decode_json('[' . uri_unescape($env->{QUERY_STRING} =~ s/&.*//sr) . ']')};
        return [$status, $headers, []];
    };
    mount '/to'   => sub { my $env = shift; return [302, [Location => $env->{QUERY_STRING}], []] };
    mount '/slow' => sub { sleep 1.2; return [200, [@STREAM], ["data: late\n\n"]] };
    mount '/raw'  => sub {
        my $env     = shift;
        my $case    = $raw->{$env->{QUERY_STRING} =~ s/&.*//sr};
        my %headers = (@STREAM, @{$case->{headers}});
        return [200, [%headers], [decode_base64($case->{body})]];
    };
};
