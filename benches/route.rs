//! Whole decisions through the public API of the core.

use turnout_benches::{artifact, prompts, report};
use turnout_core::{Router, RouterConfig};

fn main() {
    let open = |threads| {
        let config = RouterConfig { threads, ..RouterConfig::default() };
        Router::open(&artifact(), &config).expect("the shipped router opens")
    };
    let router = open(1);
    for (name, prompt) in prompts() {
        let alone = router.win_rate(&prompt).expect("it routes");
        assert_eq!(router.win_rates(&[&prompt, "", &prompt]).expect("they route")[2], alone, "{name}");
        report(&format!("route/{name}"), 16, || router.route(&prompt, None));
    }
    let embedding = router.embed("What is 2 + 2?").expect("it embeds");
    assert_eq!(router.win_rate_of_embedding(&embedding).ok(), router.win_rate("What is 2 + 2?").ok());
    report("route/embedding", 64, || router.route_embedding(&embedding, None));

    let prompts = prompts();
    let many: Vec<&str> = std::iter::repeat_n(prompts["ascii-20"].as_str(), 10_000).collect();
    for threads in [1, 2] {
        let router = open(threads);
        report(&format!("batch/10000/threads-{threads}"), 1, || router.route_batch(&many, None));
    }
    report("open/router", 1, || open(1).threshold());
}
