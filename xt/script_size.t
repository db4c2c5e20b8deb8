# The script of browsers has at most 7 KB when it is sent: each page of an application loads it. It is made of its source.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use File::Temp          ();
use Testing::Developer  qw(needs);
use Testing::SourceTree qw(slurp);
use Testing::Node       qw(packages_missing);

my $MOST = 7 * 1024;

for my $form ([], [classic => 1]) {
    my ($status, $headers, $body) = @{EventSource::Hub->script_app(@$form)
            ->({REQUEST_METHOD => 'GET', PATH_INFO => '', HTTP_ACCEPT_ENCODING => 'gzip'})};
    is { @$headers }->{'Content-Encoding'}, 'gzip', "@$form: it is compressed";
    cmp_ok length join('', @$body), '<=', $MOST, "@$form: at most 7 KB are sent";
}

subtest 'share/*.min.js are made of the source' => sub {
    needs(packages_missing('t/node'));
    my $made = File::Temp->newdir;
    is system("script/page_script --renew $made") >> 8, 0, 'terser makes it';
    for my $name (qw(eventsource-hub eventsource-hub-poll)) {
        ok slurp("$made/$name.min.js") eq slurp("share/$name.min.js"), "$name, as it is here"
            or diag 'run script/page_script --renew';
    }
};

done_testing;
