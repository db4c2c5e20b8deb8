# The script of browsers has at most 6 KB when it is sent: each page of an application loads it.

use lib 't/lib';
use Testing;
use EventSource::Hub;

my $MOST = 6 * 1024;

for my $form ([], [classic => 1]) {
    my ($status, $headers, $body) = @{EventSource::Hub->script_app(@$form)
            ->({REQUEST_METHOD => 'GET', PATH_INFO => '', HTTP_ACCEPT_ENCODING => 'gzip'})};
    is { @$headers }->{'Content-Encoding'}, 'gzip', "@$form: it is compressed";
    cmp_ok length join('', @$body), '<=', $MOST, "@$form: at most 6 KB are sent";
}

done_testing;
