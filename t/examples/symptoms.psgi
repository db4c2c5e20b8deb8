# The mistakes that EventSource::Troubleshooting describes, a path for each.

use Testing::Application;
use EventSource::Hub;
use JSON::PP qw(encode_json);
use Plack::App::EventSource;
use Plack::Builder;

my $hub   = EventSource::Hub->new(per_process => 1, keep_history => {events => 1}, start => 'oldest');
my $bytes = "gr\xc3\xbcn";

sub stream {
    return Plack::App::EventSource->new(handler_cb => sub { $hub->serve(shift, 'news') }, @_)->to_app;
}

sub publishes {
    my %event = @_;
    return sub { $hub->publish(news => {%event}); [204, [], []] };
}

builder {
    mount '/ordinary' => stream();
    mount '/off'      => stream(native      => 0);
    mount '/full'     => stream(max_streams => 1);
    mount '/deflated' => builder { enable 'Deflater'; stream() };
    mount '/excluded' => builder { enable 'Deflater', content_type => ['text/html']; stream() };
    mount '/filtered' => builder {
        enable 'SimpleContentFilter', filter => sub { };
        stream()
    };
    mount '/timed' => builder {
        enable 'AccessLog::Timed', logger => sub { };
        stream()
    };
    mount '/collected' => builder {
        enable 'BufferedStreaming', force => 1;
        Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('hello'); $_[0]->close })->to_app;
    };
    mount '/released' => Plack::App::EventSource->new(handler_cb => sub { $_[0]->push('hello') })->to_app;
    mount '/twice'    => publishes(data => $bytes);
    mount '/json'     => publishes(data => encode_json(["gr\xfcn"]));
    mount '/once'     => publishes(data => $bytes, bytes => 1);
    mount '/decoded'  => publishes(json => ["gr\xfcn"]);
};
