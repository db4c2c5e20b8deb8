# The examples of EventSource::Server's documentation, run on Twiggy.

use lib 't/lib';
use Testing qw(native);
use Testing::Client;
use Testing::Developer qw(needs);
use Testing::Server;
use Testing::SourceTree qw(slurp write_file);

needs(Testing::Server->missing('Twiggy'));

# The indented lines under each heading of the EXAMPLES.
sub examples {
    my $text = slurp('perl/EventSource/Server.pm', ':encoding(UTF-8)');
    my ($section) = $text =~ /^=head1 EXAMPLES$(.*?)^=head1/ms or die 'there are no EXAMPLES';
    my (undef, @named) = split /^=head2 (.*)$/m, $section;
    my %code;
    while (my ($name, $body) = splice @named, 0, 2) {
        $code{$name} = join '', map { "$_\n" } map { s/^ {4}//r } grep { /^(?: {4}|\s*$)/ } split /\n/, $body;
    }
    return %code;
}

my $folder = new_folder;
my $log    = write_file("$folder/log", "first\nsecond\n");

my $TIME = qr/\w+ \w+ +[0-9]+ [0-9:]+ [0-9]+/;

# The events that a client of each example receives.
my %RECEIVED = (
    'A clock'                => qr/^event: tick\ndata: $TIME\nid: \S+\n\n.*^event: tick\ndata: $TIME\nid: \S+\n\n/ms,
    'The lines of a program' => qr/^data: first\nid: \S+\n\n.*^data: second\nid: \S+\n\n.*^data: third\nid: \S+\n\n/ms,
    'A response of your own' => qr/(?:^event: tick\ndata: $TIME\n\n.*){2}/ms,
);

my %code = examples();
$code{'A response of your own'} = $code{'A clock'} =~ s/^\$es->to_app;\n+\z//mr . $code{'A response of your own'};
is_deeply [sort keys %code], [sort keys %RECEIVED], 'each example has an expectation here';
for my $name (sort keys %RECEIVED) {
    subtest $name => sub {
        my $psgi   = write_file("$folder/example.psgi", "use strict; use warnings;\n$code{$name}");
        my $server = Testing::Server->start('Twiggy', $psgi, env => {LOG_FILE => $log});
        my $client = Testing::Client->get($server->port, '/');
        if ($name =~ /lines/) {
            ok $client->read_until(qr/^data: second$/m), 'the lines that the file has already are streamed';
            open my $more, '>>', $log or die "$log: $!";
            syswrite $more, "third\n";
        }
        ok $client->read_until($RECEIVED{$name}), "the client receives the example's events" or diag $client->body;
        is $client->header('Content-Type'), 'text/event-stream; charset=utf-8', 'the content type is text/event-stream';
    };
}

done_testing;
