# A page with EventSources on responses of a server whose hub is away: /status is 503 with Retry-After, /stream a stream of
# the hub, which ends with a retry. /requests counts the requests of both.

use Testing::Application;
use EventSource::Hub;
use JSON::MaybeXS qw(encode_json);

my $PAGE = <<'HTML';
<!doctype html>
<title>Away</title>
<link rel="icon" href="data:,">
<script>
const sources = ['/status', '/stream'].map(path => new EventSource(path));
</script>
HTML

my $hub = EventSource::Hub->new(name => 'away', autostart => 0, publish_timeout => 0.1, retry => 50);

my %ROUTE = (
    '/status'   => sub { [503, ['Content-Type' => 'text/plain', 'Retry-After' => 0], ["away\n"]] },
    '/stream'   => $hub->to_app(channels => sub { 'news' }),
    '/requests' => \&requests,
);
my %count;

sub requests { return [200, ['Content-Type' => 'application/json'], [encode_json(\%count)]] }
sub page { return [200, ['Content-Type' => 'text/html; charset=utf-8', 'Connection' => 'close'], [$PAGE]] }

sub { my $env = shift; $count{$env->{PATH_INFO}}++; return ($ROUTE{$env->{PATH_INFO}} || \&page)->($env) };
