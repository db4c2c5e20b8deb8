# Each bundle of the script for pages has at most 6.25 KB when it is sent: each page of an application loads it. The bundles are
# made of their source.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use Testing::Developer  qw(needs);
use Testing::SourceTree qw(slurp);
use Testing::Node       qw(packages_missing);

my $MOST = 6400;

for my $query ('', 'reader') {
    my ($status, $headers, $body) = @{EventSource::Hub->script_app->(
            {REQUEST_METHOD => 'GET', PATH_INFO => '', QUERY_STRING => $query, HTTP_ACCEPT_ENCODING => 'gzip'}
        )
    };
    is { @$headers }->{'Content-Encoding'}, 'gzip', "'$query': it is compressed";
    cmp_ok length join('', @$body), '<=', $MOST, "'$query': at most 6.25 KB are sent";
}

subtest 'share/*.js are made of share/src' => sub {
    needs(packages_missing('t/node'));
    my $made = new_folder;
    is system("script/page_script $made") >> 8, 0, 'esbuild makes them';
    for my $name (map { "eventsource-hub$_.js" } '', '-reader', '.classic') {
        ok slurp("$made/$name") eq slurp("share/$name"), "$name, as it is here"
            or diag 'run script/page_script';
    }
};

done_testing;
