# The examples at the beginning of EventSource::Deployment, EventSource::Monitoring and EventSource::Compression run on Starman
# as they are, with the commands in their comments.

use lib 't/lib';
use Testing    qw(Server=Starman);
use File::Temp ();
use Testing::Client;
use Testing::CommandLine;
use Testing::SourceTree qw(slurp);

my $TOKEN = 'the-token-of-a-scraper';

# The application of a manual, in a file, and the command lines in its comments, each a list of words.
sub example {
    my $manual     = shift;
    my ($synopsis) = slurp("perl/EventSource/$manual.pod") =~ /^=head1 SYNOPSIS\n\n(.*?)^=head1/ms;
    my $psgi       = File::Temp->new(SUFFIX => '.psgi');
    print {$psgi} $synopsis;
    close $psgi or die "$psgi: $!";
    return ($psgi, map { [split] } $synopsis =~ /^ {4}# (?:eventsource|starman) (.*?)(?: {2,}#.*)?$/mg);
}

# Starts Starman with an application whose hubs are those of the shell.
sub start {
    my ($psgi, $shell, $workers) = @_;
    my %env = (EVENTSOURCE_RUNTIME_DIR => $shell->folder, METRICS_TOKEN => $TOKEN);
    return Testing::Server->start('Starman, without preloading', $psgi->filename, workers => $workers, env => \%env);
}

subtest 'Deployment' => sub {
    my ($psgi, $starman, $publish) = example('Deployment');
    my %option  = @$starman[0 .. $#$starman - 1];
    my $shell   = Testing::CommandLine->new;
    my $server  = start($psgi, $shell, $option{'--workers'});
    my @streams = map { Testing::Client->stream($server->port, '/events') } 1 .. 8;
    my $done    = $shell->run(@$publish);
    is $done->{code}, 0, 'a command publishes' or diag $done->{err};
    ok $_->read_until(qr/^data: hello$/m), 'a stream of any worker receives it' for @streams;
    $_->leave for @streams;
    $server->stop;
};

subtest 'Monitoring' => sub {
    my ($psgi, @commands) = example('Monitoring');
    my $shell   = Testing::CommandLine->new;
    my $server  = start($psgi, $shell, 2);
    my $stream  = Testing::Client->stream($server->port, '/events');
    my $scraper = Testing::Client->ask($server->port, '/metrics', headers => [Authorization => "Bearer $TOKEN"]);
    like $scraper->body, qr/^eventsource_streams\{hub="shop"\} 1$/m, 'a worker has the metrics of the hub';
    is scalar @commands, 2, 'the manual has commands';
    for my $command (@commands) {
        my $done = $shell->run(@$command);
        is $done->{code}, 0, "eventsource @$command" or diag $done->{err};
    }
    $stream->leave;
    $server->stop;
};

subtest 'Compression' => sub {
    my ($psgi) = example('Compression');
    my $server = start($psgi, Testing::CommandLine->new, 1);
    my $client = Testing::Client->get($server->port, '/', headers => ['Accept-Encoding' => 'gzip']);
    ok $client->read_head, 'a stream begins';
    is scalar $client->header('Content-Encoding'), 'gzip', 'with the coding that its client accepts';
    $client->leave;
    $server->stop;
};

done_testing;
