# A page that shows the stock as scripts change it. Run it with as many workers as you like.
use strict;
use warnings;

use File::Basename qw(dirname);
use lib dirname(__FILE__);
use Plack::Builder;
use Shop;

my $hub  = Shop::hub(start => 'oldest');
my $page = <<'HTML';
<!doctype html>
<title>Stock</title>
<ul id=stock></ul>
<script>
  new EventSource('/events').addEventListener('stock', event => {
    const {article, count} = JSON.parse(event.data)
    stock.append(Object.assign(document.createElement('li'), {textContent: `${article}: ${count}`}))
  })
</script>
HTML

builder {
    mount '/events' => $hub->to_app(channels => sub { 'stock' });
    mount '/'       => sub { [200, ['Content-Type' => 'text/html; charset=utf-8'], [$page]] };
};
