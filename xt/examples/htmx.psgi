# A page of htmx 4 whose own extension reads a stream: the element of EventSource::Cookbook, "htmx". /busy refuses the next
# request, /logout ends the stream and refuses it from then on (/logout?finish=1 with finish), /allow allows it again, /finish
# ends a stream of a handler, whose page has no hx-on:finish.

use Testing::Application qw(answer query);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::App::File;
use Plack::Builder;
use Testing::SourceTree qw(slurp);

my ($refused, $requests, $running) = (0, 0);

my $hub = EventSource::Hub->new(per_process => 1, keep_history => {events => 3}, retry => 50);

my $events = $hub->to_app(
    channels => sub {
        $requests++;
        return [503, [], []] if $refused eq 'once' && !($refused = 0);
        return [401, [], []] if $refused;
        return 'page';
    }
);

my $job =
    Plack::App::EventSource->new(line_end => 'lf', retry => 50, handler_cb => sub { $requests++; $running = shift });

# The element of the manual, with another URL.
sub page {
    my ($element) = slurp('perl/EventSource/Cookbook.pod') =~ /(<div hx-sse:connect.*?<\/div>)/s;
    $element =~ s/^ {4}//gm;
    $element =~ s{"/events"}{"$_[0]"};
    $element =~ s{^ +hx-on:finish=.*\n}{}m if $_[0] eq '/job';
    return [200, ['Content-Type' => 'text/html; charset=utf-8'], [<<"HTML"]];
<!doctype html>
<link rel="icon" href="data:,">
<script src="/lib/htmx.org/dist/htmx.min.js"></script>
<script src="/lib/htmx.org/dist/ext/hx-sse.min.js"></script>
<p id="shown"></p>
$element
HTML
}

builder {
    mount '/events'   => $events;
    mount '/job'      => $job->to_app;
    mount '/lib'      => Plack::App::File->new(root => 'examples/cookbook/node_modules')->to_app;
    mount '/busy'     => sub { $refused = 'once'; return answer('refused once') };
    mount '/requests' => sub { return answer($requests) };
    mount '/streams'  => sub { return answer($hub->subscribers('page')) };
    mount '/login'    => sub { return answer('log in') };
    mount '/allow'    => sub { $refused = 0;     return answer('allowed') };
    mount '/finish'   => sub { $running->finish; return answer('finished') };
    mount '/logout'   => sub {
        my %query = query(shift);
        $refused = 'always';
        return answer($hub->end(topics => ['page'], %query));
    };
    mount '/set' => sub {
        my %query = query(shift);
        $hub->publish(page => qq(<p id="shown" hx-swap-oob="true">$query{text}</p>));
        return answer('published');
    };
    mount '/a/job' => sub { return page('/job') };
    mount '/'      => sub { return page('/events') };
};
